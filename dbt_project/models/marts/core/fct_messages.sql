with statuses as (
    select
        tenant_id,
        message_id,
        min(case when status = 'delivered' then occurred_at end) as delivered_at,
        min(case when status = 'read' then occurred_at end) as read_at,
        min(case when status = 'failed' then occurred_at end) as failed_at
    from {{ ref('stg_operational__message_status_events') }}
    group by tenant_id, message_id
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
    statuses.delivered_at,
    statuses.read_at,
    statuses.failed_at,
    messages.provider_id,
    messages.known_at
from {{ ref('stg_operational__messages') }} as messages
left join statuses on statuses.tenant_id = messages.tenant_id and statuses.message_id = messages.message_id
