{{ incremental_by_contact() }}
with first_replies as (
    select tenant_id, contact_id, in_reply_to_id, min(replied_at) as replied_at
    from {{ ref('stg_operational__replies') }} as replies
    where in_reply_to_id is not null and {{ contact_is_rebuilt('replies') }}
    group by tenant_id, contact_id, in_reply_to_id
)
select
    messages.tenant_id,
    messages.message_id,
    messages.contact_id,
    messages.conversation_id,
    messages.campaign_id,
    messages.direction,
    messages.kind,
    messages.text_length,
    messages.status,
    messages.sent_at,
    messages.delivered_at,
    messages.read_at,
    messages.failed_at,
    first_replies.replied_at,
    messages.provider_id,
    messages.known_at
from {{ ref('int_messaging__messages') }} as messages
left join first_replies
    on first_replies.tenant_id = messages.tenant_id
    and first_replies.contact_id = messages.contact_id
    and first_replies.in_reply_to_id = messages.message_id
where {{ contact_is_rebuilt('messages') }}
