with source as (
    {{ newest('messages') }}
),
renamed as (
    select
        cast(tenant_id as varchar) as tenant_id,
        cast(id as varchar) as message_id,
        cast(contact_id as varchar) as contact_id,
        cast(conversation_id as varchar) as conversation_id,
        cast(campaign_id as varchar) as campaign_id,
        direction,
        kind,
        cast(text_length as bigint) as text_length,
        status,
        timestamp as sent_at,
        known_at,
        provider_id,
        template_name,
        error_code
    from source
)
select * from renamed
