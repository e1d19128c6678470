{{ incremental_by_contact() }}
select
    tenant_id,
    decision_id,
    campaign_id,
    contact_id,
    outbound_message_id,
    stage,
    outcome,
    reason,
    policy_version,
    feature_snapshot_id,
    model_name,
    model_version,
    score,
    assignment_probability,
    decided_at
from {{ ref('stg_operational__decisions') }} as decisions
where {{ contact_is_rebuilt('decisions') }}
