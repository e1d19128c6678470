with source as (
    {{ newest('consent_events') }}
),
renamed as (
    select
        cast(tenant_id as varchar) as tenant_id,
        cast(id as varchar) as consent_event_id,
        cast(contact_id as varchar) as contact_id,
        purpose,
        status,
        occurred_at,
        known_at,
        source
    from source
)
select * from renamed
