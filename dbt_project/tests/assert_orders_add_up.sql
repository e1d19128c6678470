-- A cart sent in the chat costs what its lines cost. Other shops tell a total with discounts and shipping in it.
select tenant_id, order_id, total_cents, lines_total_cents
from {{ ref('fct_orders') }} as orders
where platform = 'whatsapp'
    and total_cents <> lines_total_cents
    and {{ contact_is_rebuilt('orders', model='fct_orders') }}
