{{ incremental_by_row('messages', 'message_id') }}
with source as (
    {{ newest('messages') }}
),
renamed as (
    select
        cast(tenant_id as text) as tenant_id,
        cast(id as text) as message_id,
        cast(contact_id as text) as contact_id,
        cast(conversation_id as text) as conversation_id,
        cast(campaign_id as text) as campaign_id,
        direction,
        kind,
        cast(text_length as bigint) as text_length,
        status,
        timestamp as sent_at,
        known_at,
        provider_id,
        template_name,
        error_code,
        _load_id as load_id
    from source
)
select * from renamed
