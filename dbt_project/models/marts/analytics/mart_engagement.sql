with hours as (
    select
        tenant_id,
        local_date,
        cast(sum(sent) as bigint) as sent,
        cast(sum(delivered) as bigint) as delivered,
        cast(sum(read) as bigint) as read,
        cast(sum(replied) as bigint) as replied,
        cast(sum(response_seconds_sum) as bigint) as response_seconds_sum,
        cast(sum(received) as bigint) as received,
        cast(sum(texts_received) as bigint) as replies_measured,
        cast(sum(characters_received) as bigint) as reply_characters_sum
    from {{ ref('mart_message_volume_hourly') }}
    group by tenant_id, local_date
),
messages as (
    select
        messages.tenant_id,
        messages.conversation_id,
        messages.contact_id,
        messages.direction,
        messages.sent_at,
        cast({{ local_time('messages.sent_at', 'tenants.timezone') }} as date) as local_date
    from {{ ref('fct_messages') }} as messages
    inner join {{ ref('dim_tenants') }} as tenants on tenants.tenant_id = messages.tenant_id
),
-- A day of sends alone is no conversation. One conversation is with one person.
talked as (
    select
        tenant_id,
        local_date,
        conversation_id,
        min(case when direction = 'inbound' then contact_id end) as contact_id,
        {{ seconds_between('min(sent_at)', 'max(sent_at)') }} as duration_seconds
    from messages
    group by tenant_id, local_date, conversation_id
    having count(case when direction = 'inbound' then 1 end) > 0
),
talks as (
    select tenant_id, local_date, count(*) as conversations, cast(sum(duration_seconds) as bigint) as conversation_seconds_sum
    from talked
    group by tenant_id, local_date
),
people as (
    select tenant_id, local_date, count(distinct contact_id) as active_contacts
    from talked
    group by tenant_id, local_date
),
days as (
    select
        hours.*,
        coalesce(people.active_contacts, 0) as active_contacts,
        coalesce(talks.conversations, 0) as conversations,
        coalesce(talks.conversation_seconds_sum, 0) as conversation_seconds_sum
    from hours
    left join talks on talks.tenant_id = hours.tenant_id and talks.local_date = hours.local_date
    left join people on people.tenant_id = hours.tenant_id and people.local_date = hours.local_date
)
select
    tenant_id,
    local_date,
    sent,
    delivered,
    read,
    replied,
    received,
    active_contacts,
    conversations,
    response_seconds_sum,
    {{ ratio('response_seconds_sum', 'replied') }} as response_seconds_mean,
    reply_characters_sum,
    replies_measured,
    {{ ratio('reply_characters_sum', 'replies_measured') }} as reply_characters_mean,
    conversation_seconds_sum,
    {{ ratio('conversation_seconds_sum', 'conversations') }} as conversation_seconds_mean,
    {{ delivery_rate() }} as delivery_rate,
    {{ read_rate() }} as read_rate,
    {{ response_rate() }} as response_rate,
    {{ engagement_score('sent', 'delivered', 'read', 'replied') }} as engagement_score
from days
