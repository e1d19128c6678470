{{ incremental_by_row('message_status_events', 'message_status_event_id') }}
with source as (
    {{ newest('message_status_events') }}
),
renamed as (
    select
        cast(tenant_id as text) as tenant_id,
        cast(id as text) as message_status_event_id,
        cast(message_id as text) as message_id,
        status,
        occurred_at,
        known_at,
        error_code,
        _load_id as load_id
    from source
)
select * from renamed
