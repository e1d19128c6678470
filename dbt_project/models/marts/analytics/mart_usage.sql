-- What billing recorded beside what the messages themselves say, by billing's clock: UTC.
with sides as (
    select tenant_id, usage_date, api_calls, messages_sent, 0 as messages_counted
    from {{ ref('stg_operational__usage_records') }}
    union all
    select tenant_id, {{ utc_date('hour_at') }}, 0, 0, sent
    from {{ ref('mart_message_volume_hourly') }}
    where sent > 0
)
select
    tenant_id,
    usage_date,
    cast(sum(api_calls) as bigint) as api_calls,
    cast(sum(messages_sent) as bigint) as messages_sent,
    cast(sum(messages_counted) as bigint) as messages_counted
from sides
group by tenant_id, usage_date
