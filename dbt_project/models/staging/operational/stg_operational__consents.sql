with source as (
    {{ newest('consents') }}
),
renamed as (
    select
        cast(tenant_id as varchar) as tenant_id,
        cast(id as varchar) as consent_id,
        cast(contact_id as varchar) as contact_id,
        purpose,
        status,
        effective_at,
        source
    from source
)
select * from renamed
