{{ incremental_by_row('contacts', 'contact_id') }}
with source as (
    {{ newest('contacts') }}
),
renamed as (
    select
        cast(tenant_id as text) as tenant_id,
        cast(id as text) as contact_id,
        language,
        timezone,
        custom_data,
        priority,
        source,
        status,
        known_at as first_known_at,
        created_at,
        updated_at,
        _load_id as load_id
    from source
)
select * from renamed
