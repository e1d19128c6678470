{{ incremental_by_row('consent_events', 'consent_event_id') }}
with source as (
    {{ newest('consent_events') }}
),
renamed as (
    select
        cast(tenant_id as text) as tenant_id,
        cast(id as text) as consent_event_id,
        cast(contact_id as text) as contact_id,
        purpose,
        status,
        occurred_at,
        known_at,
        created_at as recorded_at,
        source,
        _load_id as load_id
    from source
)
select * from renamed
