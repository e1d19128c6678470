{{ incremental_by_row('conversations', 'conversation_id') }}
with source as (
    {{ newest('conversations') }}
),
renamed as (
    select
        cast(tenant_id as text) as tenant_id,
        cast(id as text) as conversation_id,
        cast(contact_id as text) as contact_id,
        status,
        started_at,
        last_message_at,
        _load_id as load_id
    from source
)
select * from renamed
