-- No order is lost or counted twice on its way into a day.
with sides as (
    select tenant_id, currency, revenue_cents, orders, attributed_revenue_cents
    from {{ ref('mart_revenue') }}
    union all
    select tenant_id, currency, -total_cents, -1, case when attributed_campaign_id is not null then -total_cents else 0 end
    from {{ ref('fct_orders') }}
    where status <> 'cancelled'
)
select tenant_id, currency, sum(revenue_cents) as revenue_cents, sum(orders) as orders
from sides
group by tenant_id, currency
having sum(revenue_cents) <> 0 or sum(orders) <> 0 or sum(attributed_revenue_cents) <> 0
