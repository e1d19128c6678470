-- Campaign sends with what came of each, every outcome given to one send.
with sends as (
    select
        messages.tenant_id,
        messages.message_id,
        messages.contact_id,
        messages.campaign_id,
        messages.sent_at,
        messages.known_at,
        campaigns.conversion_event,
        messages.sent_at + campaigns.attribution_seconds * interval '1 second' as attribution_ends_at
    from {{ ref('stg_operational__messages') }} as messages
    inner join {{ ref('stg_operational__campaigns') }} as campaigns
        on campaigns.tenant_id = messages.tenant_id and campaigns.campaign_id = messages.campaign_id
    where messages.direction = 'outbound'
),
statuses as (
    select
        tenant_id,
        message_id,
        min(case when status = 'delivered' then occurred_at end) as delivered_at,
        min(case when status = 'read' then occurred_at end) as read_at,
        min(case when status = 'read' then known_at end) as read_known_at,
        min(case when status = 'failed' then occurred_at end) as failed_at
    from {{ ref('stg_operational__message_status_events') }}
    group by tenant_id, message_id
),
replies as (
    select tenant_id, in_reply_to_id as message_id, min(replied_at) as replied_at
    from {{ ref('stg_operational__replies') }}
    where in_reply_to_id is not null
    group by tenant_id, in_reply_to_id
),
outcomes as (
    select tenant_id, contact_id, 'order' as outcome, cast(null as varchar) as campaign_id, order_id as outcome_id,
        ordered_at as occurred_at, known_at, total_cents as value_cents, status <> 'cancelled' as is_kept
    from {{ ref('stg_operational__orders') }}
    union all
    select tenant_id, contact_id, 'redemption', campaign_id, conversion_id, occurred_at, known_at, value_cents, true
    from {{ ref('stg_operational__conversions') }}
    union all
    select tenant_id, contact_id, 'opt_out', null, consent_event_id, occurred_at, known_at, null, true
    from {{ ref('stg_operational__consent_events') }}
    where status = 'opted_out' and purpose = 'marketing'
),
candidates as (
    select
        outcomes.*,
        sends.message_id,
        greatest(outcomes.known_at, sends.known_at) as attribution_known_at,
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
),
-- A label may know that an order was cancelled since; a feature may not, nor of an earlier order that became known later.
ranked as (
    select
        *,
        row_number() over (
            partition by tenant_id, message_id, outcome = 'opt_out'
            order by greatest(occurred_at, attribution_known_at), occurred_at, outcome_id
        ) as visibility
    from candidates
    where recency = 1
),
attributed as (
    select
        tenant_id,
        message_id,
        min(case when outcome <> 'opt_out' and is_kept then occurred_at end) as converted_at,
        cast(sum(case when outcome <> 'opt_out' and is_kept then value_cents end) as bigint) as conversion_value_cents,
        min(case when outcome = 'opt_out' then occurred_at end) as opted_out_at,
        min(case when outcome <> 'opt_out' and visibility = 1 then occurred_at end) as first_seen_conversion_at,
        min(case when outcome <> 'opt_out' and visibility = 1 then attribution_known_at end)
            as first_seen_conversion_known_at
    from ranked
    group by tenant_id, message_id
)
select
    sends.tenant_id,
    sends.message_id,
    sends.contact_id,
    sends.campaign_id,
    sends.sent_at,
    sends.known_at,
    statuses.delivered_at,
    statuses.read_at,
    statuses.read_known_at,
    statuses.failed_at,
    replies.replied_at,
    attributed.converted_at,
    attributed.conversion_value_cents,
    attributed.opted_out_at,
    attributed.first_seen_conversion_at,
    attributed.first_seen_conversion_known_at,
    sends.attribution_ends_at
from sends
left join statuses on statuses.tenant_id = sends.tenant_id and statuses.message_id = sends.message_id
left join replies on replies.tenant_id = sends.tenant_id and replies.message_id = sends.message_id
left join attributed on attributed.tenant_id = sends.tenant_id and attributed.message_id = sends.message_id
