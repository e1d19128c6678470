with source as (
    {{ newest('order_items') }}
),
renamed as (
    select
        cast(tenant_id as varchar) as tenant_id,
        cast(id as varchar) as order_item_id,
        cast(order_id as varchar) as order_id,
        name,
        quantity,
        price_cents
    from source
)
select * from renamed
