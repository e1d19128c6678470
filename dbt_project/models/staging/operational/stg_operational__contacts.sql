with source as (
    {{ newest('contacts') }}
),
renamed as (
    select
        cast(tenant_id as varchar) as tenant_id,
        cast(id as varchar) as contact_id,
        language,
        timezone,
        custom_data,
        priority,
        source,
        status,
        known_at as first_known_at,
        created_at,
        updated_at
    from source
)
select * from renamed
