{{ incremental_by_contact() }}
-- Messages with what the provider said happened to them: a status happens to a message once.
with messages as (
    select * from {{ ref('stg_operational__messages') }} where {{ contact_is_rebuilt() }}
),
statuses as (
    select
        tenant_id,
        message_id,
        min(case when status = 'delivered' then occurred_at end) as delivered_at,
        min(case when status = 'delivered' then known_at end) as delivered_known_at,
        min(case when status = 'read' then occurred_at end) as read_at,
        min(case when status = 'read' then known_at end) as read_known_at,
        min(case when status = 'failed' then occurred_at end) as failed_at
    from {{ ref('stg_operational__message_status_events') }}
    {% if is_incremental() -%}
    where message_id in (select message_id from messages)
    {%- endif %}
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
    messages.known_at,
    statuses.delivered_at,
    statuses.delivered_known_at,
    statuses.read_at,
    statuses.read_known_at,
    statuses.failed_at,
    messages.provider_id,
    messages.template_name,
    messages.error_code
from messages
left join statuses on statuses.tenant_id = messages.tenant_id and statuses.message_id = messages.message_id
-- A person's messages lie together, here and in what is made of them: finding those of a few is then nearly free.
order by messages.contact_id
