with source as (
    {{ newest('decisions') }}
),
renamed as (
    select
        cast(tenant_id as varchar) as tenant_id,
        cast(id as varchar) as decision_id,
        cast(campaign_id as varchar) as campaign_id,
        cast(contact_id as varchar) as contact_id,
        cast(outbound_message_id as varchar) as outbound_message_id,
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
    from source
)
select * from renamed
