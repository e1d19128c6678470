-- An hour of the world can lie in two hours of a clock that is half an hour off: both are in the grain, so that sums are
-- right by either.
with quarters as (
    select
        tenant_id,
        {{ quarter_index('sent_at') }} as quarter,
        count(case when direction = 'outbound' then 1 end) as sent,
        count(case when direction = 'outbound' then coalesce(delivered_at, read_at) end) as delivered,
        count(case when direction = 'outbound' then read_at end) as read,
        count(case when direction = 'outbound' then failed_at end) as failed,
        count(case when direction = 'outbound' then replied_at end) as replied,
        sum(case when direction = 'outbound' then {{ seconds_between('sent_at', 'replied_at') }} end) as response_seconds_sum,
        count(case when direction = 'inbound' then 1 end) as received,
        count(case when direction = 'inbound' then text_length end) as texts_received,
        sum(case when direction = 'inbound' then text_length end) as characters_received
    from {{ ref('fct_messages') }}
    group by tenant_id, {{ quarter_index('sent_at') }}
),
placed as (
    select
        quarters.*,
        {{ quarter_start('quarters.quarter') }} as quarter_at,
        {{ local_time(quarter_start('quarters.quarter'), 'tenants.timezone') }} as local_at
    from quarters
    inner join {{ ref('dim_tenants') }} as tenants on tenants.tenant_id = quarters.tenant_id
)
select
    tenant_id,
    {{ utc_hour('quarter_at') }} as hour_at,
    cast(local_at as date) as local_date,
    cast(extract(hour from local_at) as integer) as local_hour,
    cast(sum(sent) as bigint) as sent,
    cast(sum(delivered) as bigint) as delivered,
    cast(sum(read) as bigint) as read,
    cast(sum(failed) as bigint) as failed,
    cast(sum(replied) as bigint) as replied,
    cast(coalesce(sum(response_seconds_sum), 0) as bigint) as response_seconds_sum,
    cast(sum(received) as bigint) as received,
    cast(sum(texts_received) as bigint) as texts_received,
    cast(coalesce(sum(characters_received), 0) as bigint) as characters_received
from placed
group by tenant_id, {{ utc_hour('quarter_at') }}, cast(local_at as date), cast(extract(hour from local_at) as integer)
