with source as (
    {{ newest('tenants', key='id') }}
),
renamed as (
    select
        cast(id as varchar) as tenant_id,
        slug,
        timezone,
        backfilled_until,
        settings
    from source
)
select * from renamed
