{{ incremental_by_row('consents', 'consent_id') }}
with source as (
    {{ newest('consents') }}
),
renamed as (
    select
        cast(tenant_id as text) as tenant_id,
        cast(id as text) as consent_id,
        cast(contact_id as text) as contact_id,
        purpose,
        status,
        effective_at,
        source,
        _load_id as load_id
    from source
)
select * from renamed
