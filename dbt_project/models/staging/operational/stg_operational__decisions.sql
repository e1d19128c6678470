{{ incremental_by_row('decisions', 'decision_id') }}
with source as (
    {{ newest('decisions') }}
),
renamed as (
    select
        cast(tenant_id as text) as tenant_id,
        cast(id as text) as decision_id,
        cast(campaign_id as text) as campaign_id,
        cast(contact_id as text) as contact_id,
        cast(outbound_message_id as text) as outbound_message_id,
        stage,
        outcome,
        reason,
        policy_version,
        feature_snapshot_id,
        model_name,
        model_version,
        score,
        assignment_probability,
        decided_at,
        _load_id as load_id
    from source
)
select * from renamed
