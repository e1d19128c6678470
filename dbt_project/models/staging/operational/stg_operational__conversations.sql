with source as (
    {{ newest('conversations') }}
),
renamed as (
    select
        cast(tenant_id as varchar) as tenant_id,
        cast(id as varchar) as conversation_id,
        cast(contact_id as varchar) as contact_id,
        status,
        started_at,
        last_message_at
    from source
)
select * from renamed
