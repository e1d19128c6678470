with hot as (
    select tenant_id, contact_id, score, probability, tier, model_version, feature_snapshot_id, scored_at
    from {{ ref('stg_operational__scores') }}
    where model = 'lead_scoring' and score > {{ hot_lead_score() }}
),
consents as (
    select tenant_id, contact_id, status
    from {{ ref('stg_operational__consents') }}
    where purpose = 'marketing'
),
inbound as (
    select messages.tenant_id, messages.contact_id, max(messages.sent_at) as last_inbound_at
    from {{ ref('fct_messages') }} as messages
    inner join hot on hot.tenant_id = messages.tenant_id and hot.contact_id = messages.contact_id
    where messages.direction = 'inbound'
    group by messages.tenant_id, messages.contact_id
),
campaigns as (
    select people.tenant_id, people.contact_id, count(*) as campaigns_total, max(people.last_sent_at) as last_campaign_at
    from {{ ref('fct_campaign_contacts') }} as people
    inner join hot on hot.tenant_id = people.tenant_id and hot.contact_id = people.contact_id
    where people.sent > 0
    group by people.tenant_id, people.contact_id
),
orders as (
    select
        orders.tenant_id,
        orders.contact_id,
        max(orders.ordered_at) as last_order_at,
        count(case when orders.ordered_at > {{ seconds_after(as_of(), '-90 * 86400') }} then 1 end) as orders_90d,
        cast(coalesce(sum(
            case when orders.ordered_at > {{ seconds_after(as_of(), '-90 * 86400') }} then orders.total_cents end
        ), 0) as bigint) as revenue_90d_cents
    from {{ ref('fct_orders') }} as orders
    inner join hot on hot.tenant_id = orders.tenant_id and hot.contact_id = orders.contact_id
    where orders.status <> 'cancelled'
    group by orders.tenant_id, orders.contact_id
)
select
    hot.tenant_id,
    hot.contact_id,
    hot.score,
    hot.probability,
    hot.tier,
    hot.model_version,
    hot.feature_snapshot_id,
    hot.scored_at,
    coalesce(consents.status = 'opted_in', false) as has_consent,
    inbound.last_inbound_at,
    campaigns.last_campaign_at,
    orders.last_order_at,
    coalesce(orders.orders_90d, 0) as orders_90d,
    coalesce(orders.revenue_90d_cents, 0) as revenue_90d_cents,
    coalesce(campaigns.campaigns_total, 0) as campaigns_total
from hot
left join consents on consents.tenant_id = hot.tenant_id and consents.contact_id = hot.contact_id
left join inbound on inbound.tenant_id = hot.tenant_id and inbound.contact_id = hot.contact_id
left join campaigns on campaigns.tenant_id = hot.tenant_id and campaigns.contact_id = hot.contact_id
left join orders on orders.tenant_id = hot.tenant_id and orders.contact_id = hot.contact_id
