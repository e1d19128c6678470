-- What a campaign shows is the sum of what happened to its people, and every send is somebody's.
with sides as (
    select tenant_id, campaign_id, sent, read, replied, converted, treated, held_out, treated_revenue_cents
    from {{ ref('mart_campaign_performance') }}
    union all
    select
        tenant_id,
        campaign_id,
        -sent,
        -read,
        -replied,
        -converted,
        case when assignment = 'treated' then -1 else 0 end,
        case when assignment = 'held_out' then -1 else 0 end,
        case when assignment = 'treated' then -revenue_in_window_cents else 0 end
    from {{ ref('fct_campaign_contacts') }}
),
unequal as (
    select tenant_id, campaign_id
    from sides
    group by tenant_id, campaign_id
    having sum(sent) <> 0
        or sum(read) <> 0
        or sum(replied) <> 0
        or sum(converted) <> 0
        or sum(treated) <> 0
        or sum(held_out) <> 0
        or sum(treated_revenue_cents) <> 0
),
sends as (
    select tenant_id, campaign_id, count(*) as sent from {{ ref('fct_sends') }} group by tenant_id, campaign_id
)
select tenant_id, campaign_id from unequal
union
select campaigns.tenant_id, campaigns.campaign_id
from {{ ref('mart_campaign_performance') }} as campaigns
left join sends on sends.tenant_id = campaigns.tenant_id and sends.campaign_id = campaigns.campaign_id
where campaigns.sent <> coalesce(sends.sent, 0)
