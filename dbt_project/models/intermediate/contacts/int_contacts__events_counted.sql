-- Everything features count, as rows of one shape. `visible_day` is the first midnight after the event was known,
-- `anchor_day` the day its windows are counted from: its own, or for shares of sends the send's.
with outbound as (
    select tenant_id, message_id, contact_id, sent_at, known_at
    from {{ ref('stg_operational__messages') }}
    where direction = 'outbound'
),
inbound as (
    select tenant_id, message_id, contact_id, sent_at as occurred_at, known_at
    from {{ ref('stg_operational__messages') }}
    where direction = 'inbound'
),
statuses as (
    select
        outbound.tenant_id,
        outbound.contact_id,
        outbound.sent_at,
        statuses.status,
        statuses.occurred_at,
        statuses.known_at
    from {{ ref('stg_operational__message_status_events') }} as statuses
    inner join outbound on outbound.tenant_id = statuses.tenant_id and outbound.message_id = statuses.message_id
),
signs as (
    select tenant_id, contact_id, occurred_at, known_at from inbound
    union all
    select tenant_id, contact_id, occurred_at, known_at from statuses where status = 'read'
),
local_signs as (
    select
        signs.*,
        -- The tenant's clock, as at the moment of use: the two are compared.
        extract(hour from signs.occurred_at at time zone tenants.timezone) as local_hour,
        extract(isodow from signs.occurred_at at time zone tenants.timezone) as local_weekday
    from signs
    inner join {{ ref('stg_operational__tenants') }} as tenants on tenants.tenant_id = signs.tenant_id
),
sends as (
    select * from {{ ref('int_messaging__sends_settled') }}
),
counted as (
    select tenant_id, contact_id, 'sent' as measure, 1 as value, sent_at as occurred_at, known_at, sent_at as anchored_at
    from outbound
    union all
    select tenant_id, contact_id, status, 1, occurred_at, known_at, occurred_at
    from statuses where status in ('delivered', 'read')
    union all
    select tenant_id, contact_id, 'sent_and_read', 1, occurred_at, known_at, sent_at
    from statuses where status = 'read'
    union all
    select tenant_id, contact_id, 'read_delay_seconds', {{ seconds_between('sent_at', 'occurred_at') }}, occurred_at,
        known_at, occurred_at
    from statuses where status = 'read' and occurred_at >= sent_at
    union all
    select tenant_id, contact_id, 'inbound', 1, occurred_at, known_at, occurred_at
    from inbound
    union all
    select tenant_id, contact_id, 'reply', 1, replied_at, known_at, replied_at
    from {{ ref('stg_operational__replies') }}
    union all
    select tenant_id, contact_id, 'reply_with_text', 1, replied_at, known_at, replied_at
    from {{ ref('stg_operational__replies') }} where text_length is not null
    union all
    select tenant_id, contact_id, 'reply_length', text_length, replied_at, known_at, replied_at
    from {{ ref('stg_operational__replies') }} where text_length is not null
    union all
    select tenant_id, contact_id, 'order', 1, ordered_at, known_at, ordered_at
    from {{ ref('stg_operational__orders') }}
    union all
    select tenant_id, contact_id, 'order_cents', total_cents, ordered_at, known_at, ordered_at
    from {{ ref('stg_operational__orders') }}
    union all
    select tenant_id, contact_id, 'campaign_sent', 1, sent_at, known_at, sent_at
    from sends
    union all
    select tenant_id, contact_id, 'campaign_read', 1, read_at, read_known_at, read_at
    from sends where read_at is not null
    union all
    select tenant_id, contact_id, 'campaign_sent_and_read', 1, read_at, read_known_at, sent_at
    from sends where read_at is not null
    union all
    select tenant_id, contact_id, 'campaign_converted', 1, first_seen_conversion_at, first_seen_conversion_known_at,
        first_seen_conversion_at
    from sends where first_seen_conversion_at is not null
    union all
    select tenant_id, contact_id, 'campaign_sent_and_converted', 1, first_seen_conversion_at,
        first_seen_conversion_known_at, sent_at
    from sends where first_seen_conversion_at is not null
    union all
    select tenant_id, contact_id,
        case
            when local_hour < 6 then 'active_night'
            when local_hour < 12 then 'active_morning'
            when local_hour < 18 then 'active_afternoon'
            else 'active_evening'
        end,
        1, occurred_at, known_at, occurred_at
    from local_signs
    union all
    select tenant_id, contact_id, 'active_weekend', 1, occurred_at, known_at, occurred_at
    from local_signs where local_weekday >= 6
)
select
    tenant_id,
    contact_id,
    measure,
    cast(value as double precision) as value,
    occurred_at,
    {{ day_index('greatest(occurred_at, known_at)') }} + 1 as visible_day,
    {{ day_index('anchored_at') }} as anchor_day
from counted
