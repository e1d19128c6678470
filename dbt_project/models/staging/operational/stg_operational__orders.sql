{{ incremental_by_row('orders', 'order_id') }}
with source as (
    {{ newest('orders') }}
),
renamed as (
    select
        cast(tenant_id as text) as tenant_id,
        cast(id as text) as order_id,
        cast(contact_id as text) as contact_id,
        platform,
        status,
        total_cents,
        currency,
        ordered_at,
        known_at,
        _load_id as load_id
    from source
)
select * from renamed
