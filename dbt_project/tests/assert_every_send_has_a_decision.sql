-- Every campaign message in the outbox can be explained.
select outbox.tenant_id, outbox.outbound_message_id
from {{ ref('stg_operational__outbound_messages') }} as outbox
left join {{ ref('fct_decisions') }} as decisions
    on decisions.tenant_id = outbox.tenant_id
    and decisions.campaign_id = outbox.campaign_id
    and decisions.contact_id = outbox.contact_id
where outbox.campaign_id is not null
    and decisions.decision_id is null
    and {{ contact_is_rebuilt('outbox', model='fct_decisions') }}
