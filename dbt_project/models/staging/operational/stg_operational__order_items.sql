{{ incremental_by_row('order_items', 'order_item_id') }}
with source as (
    {{ newest('order_items') }}
),
renamed as (
    select
        cast(tenant_id as text) as tenant_id,
        cast(id as text) as order_item_id,
        cast(order_id as text) as order_id,
        name,
        quantity,
        price_cents,
        _load_id as load_id
    from source
)
select * from renamed
