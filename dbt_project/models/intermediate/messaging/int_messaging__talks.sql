{{ incremental_by_contact() }}
-- Days of a conversation by the tenant's clock on which the person wrote: a day of sends alone is no conversation.
with messages as (
    select
        messages.tenant_id,
        messages.contact_id,
        messages.conversation_id,
        messages.direction,
        messages.sent_at,
        cast({{ local_time('messages.sent_at', 'tenants.timezone') }} as date) as local_date
    from {{ ref('int_messaging__messages') }} as messages
    inner join {{ ref('stg_operational__tenants') }} as tenants on tenants.tenant_id = messages.tenant_id
    where {{ contact_is_rebuilt('messages') }}
)
select
    tenant_id,
    contact_id,
    conversation_id,
    local_date,
    {{ seconds_between('min(sent_at)', 'max(sent_at)') }} as duration_seconds
from messages
group by tenant_id, contact_id, conversation_id, local_date
having count(case when direction = 'inbound' then 1 end) > 0
