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
talks as (
    select
        tenant_id,
        local_date,
        count(*) as conversations,
        count(distinct contact_id) as active_contacts,
        cast(sum(duration_seconds) as bigint) as conversation_seconds_sum
    from {{ ref('int_messaging__talks') }}
    group by tenant_id, local_date
),
days as (
    select
        hours.*,
        coalesce(talks.active_contacts, 0) as active_contacts,
        coalesce(talks.conversations, 0) as conversations,
        coalesce(talks.conversation_seconds_sum, 0) as conversation_seconds_sum
    from hours
    left join talks on talks.tenant_id = hours.tenant_id and talks.local_date = hours.local_date
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
