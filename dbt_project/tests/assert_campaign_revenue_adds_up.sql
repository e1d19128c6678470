-- A campaign's revenue is that of its sends, and where orders are what it is for, that of the orders given to it.
with sides as (
    select tenant_id, campaign_id, attributed_revenue_cents as in_mart, 0 as in_sends, 0 as in_orders
    from {{ ref('mart_campaign_performance') }}
    union all
    select tenant_id, campaign_id, 0, conversion_value_cents, 0
    from {{ ref('fct_sends') }}
    where conversion_value_cents is not null
    union all
    select tenant_id, attributed_campaign_id, 0, 0, total_cents
    from {{ ref('fct_orders') }}
    where attributed_campaign_id is not null and status <> 'cancelled'
),
summed as (
    select tenant_id, campaign_id, sum(in_mart) as in_mart, sum(in_sends) as in_sends, sum(in_orders) as in_orders
    from sides
    group by tenant_id, campaign_id
)
select summed.tenant_id, summed.campaign_id, summed.in_mart, summed.in_sends, summed.in_orders
from summed
inner join {{ ref('dim_campaigns') }} as campaigns
    on campaigns.tenant_id = summed.tenant_id and campaigns.campaign_id = summed.campaign_id
where summed.in_mart <> summed.in_sends
    or (campaigns.conversion_event = 'order' and summed.in_sends <> summed.in_orders)
