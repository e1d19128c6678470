{{ incremental_by_contact() }}
with lines as (
    select
        items.tenant_id,
        items.order_id,
        count(*) as item_count,
        cast(sum(items.quantity) as bigint) as quantity,
        -- Ten lines of the largest price and quantity there may be leave a bigint.
        cast(least(sum(items.quantity * items.price_cents), 9000000000000000000) as bigint) as lines_total_cents
    from {{ ref('stg_operational__order_items') }} as items
    inner join {{ ref('stg_operational__orders') }} as orders
        on orders.tenant_id = items.tenant_id and orders.order_id = items.order_id
    where {{ contact_is_rebuilt('orders') }}
    group by items.tenant_id, items.order_id
),
attributed as (
    select tenant_id, outcome_id as order_id, message_id, campaign_id
    from {{ ref('int_messaging__outcomes_attributed') }} as outcomes
    where outcome = 'order' and {{ contact_is_rebuilt('outcomes') }}
)
select
    orders.tenant_id,
    orders.order_id,
    orders.contact_id,
    orders.platform,
    orders.status,
    orders.total_cents,
    orders.currency,
    coalesce(lines.item_count, 0) as item_count,
    coalesce(lines.quantity, 0) as quantity,
    lines.lines_total_cents,
    attributed.campaign_id as attributed_campaign_id,
    attributed.message_id as attributed_message_id,
    orders.ordered_at,
    orders.known_at
from {{ ref('stg_operational__orders') }} as orders
left join lines on lines.tenant_id = orders.tenant_id and lines.order_id = orders.order_id
left join attributed on attributed.tenant_id = orders.tenant_id and attributed.order_id = orders.order_id
where {{ contact_is_rebuilt('orders') }}
