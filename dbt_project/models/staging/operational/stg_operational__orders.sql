with source as (
    {{ newest('orders') }}
),
renamed as (
    select
        cast(tenant_id as varchar) as tenant_id,
        cast(id as varchar) as order_id,
        cast(contact_id as varchar) as contact_id,
        platform,
        status,
        total_cents,
        currency,
        ordered_at,
        known_at
    from source
)
select * from renamed
