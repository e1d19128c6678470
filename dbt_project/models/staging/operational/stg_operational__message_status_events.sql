with source as (
    {{ newest('message_status_events') }}
),
renamed as (
    select
        cast(tenant_id as varchar) as tenant_id,
        cast(id as varchar) as message_status_event_id,
        cast(message_id as varchar) as message_id,
        status,
        occurred_at,
        known_at,
        error_code
    from source
)
select * from renamed
