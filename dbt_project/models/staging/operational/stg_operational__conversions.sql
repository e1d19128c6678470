{{ incremental_by_row('conversions', 'conversion_id') }}
with source as (
    {{ newest('conversions') }}
),
renamed as (
    select
        cast(tenant_id as text) as tenant_id,
        cast(id as text) as conversion_id,
        cast(contact_id as text) as contact_id,
        cast(campaign_id as text) as campaign_id,
        value_cents,
        occurred_at,
        known_at,
        _load_id as load_id
    from source
)
select * from renamed
