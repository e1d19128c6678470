{{ incremental_by_contact() }}
-- Orders, redemptions and opt-outs that a campaign send could have caused, each given to the newest such send.
with sends as (
    select
        messages.tenant_id,
        messages.message_id,
        messages.contact_id,
        messages.campaign_id,
        messages.sent_at,
        messages.known_at,
        campaigns.conversion_event,
        {{ seconds_after('messages.sent_at', 'campaigns.attribution_seconds') }} as attribution_ends_at
    from {{ ref('int_messaging__messages') }} as messages
    inner join {{ ref('stg_operational__campaigns') }} as campaigns
        on campaigns.tenant_id = messages.tenant_id and campaigns.campaign_id = messages.campaign_id
    where messages.direction = 'outbound' and {{ contact_is_rebuilt('messages') }}
),
outcomes as (
    select tenant_id, contact_id, 'order' as outcome, cast(null as text) as campaign_id, order_id as outcome_id,
        ordered_at as occurred_at, known_at, total_cents as value_cents, status <> 'cancelled' as is_kept
    from {{ ref('stg_operational__orders') }}
    where {{ contact_is_rebuilt() }}
    union all
    select tenant_id, contact_id, 'redemption', campaign_id, conversion_id, occurred_at, known_at, value_cents, true
    from {{ ref('stg_operational__conversions') }}
    where {{ contact_is_rebuilt() }}
    union all
    select tenant_id, contact_id, 'opt_out', null, consent_event_id, occurred_at, known_at, null, true
    from {{ ref('stg_operational__consent_events') }}
    -- A contact that got another number has no consent for it; nobody opted out.
    where status = 'opted_out' and purpose = 'marketing' and source <> 'phone_changed' and {{ contact_is_rebuilt() }}
),
candidates as (
    select
        outcomes.tenant_id,
        outcomes.outcome,
        outcomes.outcome_id,
        outcomes.contact_id,
        sends.message_id,
        sends.campaign_id,
        outcomes.occurred_at,
        greatest(outcomes.known_at, sends.known_at) as attribution_known_at,
        outcomes.value_cents,
        outcomes.is_kept,
        row_number() over (
            partition by outcomes.tenant_id, outcomes.outcome, outcomes.outcome_id
            order by sends.sent_at desc, sends.message_id
        ) as recency
    from outcomes
    inner join sends
        on sends.tenant_id = outcomes.tenant_id
        and sends.contact_id = outcomes.contact_id
        and sends.sent_at <= outcomes.occurred_at
        and outcomes.occurred_at <= sends.attribution_ends_at
        and (outcomes.outcome = 'opt_out' or sends.conversion_event = outcomes.outcome)
        and (outcomes.campaign_id is null or outcomes.campaign_id = sends.campaign_id)
)
select
    tenant_id,
    outcome,
    outcome_id,
    contact_id,
    message_id,
    campaign_id,
    occurred_at,
    attribution_known_at,
    value_cents,
    is_kept
from candidates
where recency = 1
