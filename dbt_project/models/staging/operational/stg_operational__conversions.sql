with source as (
    {{ newest('conversions') }}
),
renamed as (
    select
        cast(tenant_id as varchar) as tenant_id,
        cast(id as varchar) as conversion_id,
        cast(contact_id as varchar) as contact_id,
        cast(campaign_id as varchar) as campaign_id,
        value_cents,
        occurred_at,
        known_at
    from source
)
select * from renamed
