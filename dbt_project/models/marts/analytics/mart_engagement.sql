with messages as (
    select
        messages.tenant_id,
        messages.contact_id,
        messages.conversation_id,
        messages.direction,
        messages.text_length,
        messages.sent_at,
        coalesce(messages.delivered_at, messages.read_at) as delivered_at,
        messages.read_at,
        messages.replied_at,
        cast({{ local_time('messages.sent_at', 'tenants.timezone') }} as date) as local_date
    from {{ ref('fct_messages') }} as messages
    inner join {{ ref('dim_tenants') }} as tenants on tenants.tenant_id = messages.tenant_id
),
-- One pass over the messages; what follows reads days of conversations.
conversation_days as (
    select
        tenant_id,
        local_date,
        conversation_id,
        contact_id,
        count(case when direction = 'outbound' then 1 end) as sent,
        count(case when direction = 'outbound' then delivered_at end) as delivered,
        count(case when direction = 'outbound' then read_at end) as read,
        count(case when direction = 'outbound' then replied_at end) as replied,
        sum(case when direction = 'outbound' and replied_at is not null then
            {{ seconds_between('sent_at', 'replied_at') }} end) as response_seconds_sum,
        count(case when direction = 'inbound' then 1 end) as received,
        count(case when direction = 'inbound' then text_length end) as replies_measured,
        sum(case when direction = 'inbound' then text_length end) as reply_characters_sum,
        {{ seconds_between('min(sent_at)', 'max(sent_at)') }} as duration_seconds
    from messages
    group by tenant_id, local_date, conversation_id, contact_id
),
days as (
    select
        tenant_id,
        local_date,
        cast(sum(sent) as bigint) as sent,
        cast(sum(delivered) as bigint) as delivered,
        cast(sum(read) as bigint) as read,
        cast(sum(replied) as bigint) as replied,
        cast(coalesce(sum(response_seconds_sum), 0) as bigint) as response_seconds_sum,
        cast(sum(received) as bigint) as received,
        cast(sum(replies_measured) as bigint) as replies_measured,
        cast(coalesce(sum(reply_characters_sum), 0) as bigint) as reply_characters_sum,
        count(distinct case when received > 0 then contact_id end) as active_contacts,
        count(case when received > 0 then 1 end) as conversations,
        cast(coalesce(sum(case when received > 0 then duration_seconds end), 0) as bigint) as conversation_seconds_sum
    from conversation_days
    group by tenant_id, local_date
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
