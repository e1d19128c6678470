select
    orders.tenant_id,
    cast({{ local_time('orders.ordered_at', 'tenants.timezone') }} as date) as local_date,
    orders.currency,
    count(case when orders.status <> 'cancelled' then 1 end) as orders,
    count(case when orders.status = 'cancelled' then 1 end) as cancelled_orders,
    count(distinct case when orders.status <> 'cancelled' then orders.contact_id end) as customers,
    cast(sum(case when orders.status <> 'cancelled' then orders.total_cents else 0 end) as bigint) as revenue_cents,
    count(case when orders.status <> 'cancelled' then orders.attributed_campaign_id end) as attributed_orders,
    cast(sum(
        case when orders.status <> 'cancelled' and orders.attributed_campaign_id is not null then orders.total_cents else 0 end
    ) as bigint) as attributed_revenue_cents
from {{ ref('fct_orders') }} as orders
inner join {{ ref('dim_tenants') }} as tenants on tenants.tenant_id = orders.tenant_id
group by orders.tenant_id, local_date, orders.currency
