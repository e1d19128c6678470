-- An hour of the world can lie in two hours of a clock that is half an hour off: both are in the grain, so that sums are
-- right by either.
select
    messages.tenant_id,
    {{ utc_hour('messages.sent_at') }} as hour_at,
    cast({{ local_time('messages.sent_at', 'tenants.timezone') }} as date) as local_date,
    cast({{ local_hour('messages.sent_at', 'tenants.timezone') }} as integer) as local_hour,
    count(case when messages.direction = 'outbound' then 1 end) as sent,
    count(case when messages.direction = 'outbound' then coalesce(messages.delivered_at, messages.read_at) end) as delivered,
    count(case when messages.direction = 'outbound' then messages.read_at end) as read,
    count(case when messages.direction = 'outbound' then messages.failed_at end) as failed,
    count(case when messages.direction = 'outbound' then messages.replied_at end) as replied,
    count(case when messages.direction = 'inbound' then 1 end) as received
from {{ ref('fct_messages') }} as messages
inner join {{ ref('dim_tenants') }} as tenants on tenants.tenant_id = messages.tenant_id
group by messages.tenant_id, hour_at, local_date, local_hour
