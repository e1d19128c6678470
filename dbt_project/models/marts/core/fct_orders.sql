with items as (
    select tenant_id, order_id, count(*) as item_count, cast(sum(quantity) as bigint) as quantity
    from {{ ref('stg_operational__order_items') }}
    group by tenant_id, order_id
)
select
    orders.tenant_id,
    orders.order_id,
    orders.contact_id,
    orders.platform,
    orders.status,
    orders.total_cents,
    orders.currency,
    coalesce(items.item_count, 0) as item_count,
    coalesce(items.quantity, 0) as quantity,
    orders.ordered_at,
    orders.known_at
from {{ ref('stg_operational__orders') }} as orders
left join items on items.tenant_id = orders.tenant_id and items.order_id = orders.order_id
