{{ incremental_by_row('scores', 'score_id') }}
with source as (
    {{ newest('scores') }}
),
renamed as (
    select
        cast(tenant_id as text) as tenant_id,
        cast(id as text) as score_id,
        cast(contact_id as text) as contact_id,
        model,
        model_version,
        score,
        probability,
        tier,
        feature_snapshot_id,
        scored_at,
        _load_id as load_id
    from source
)
select * from renamed
