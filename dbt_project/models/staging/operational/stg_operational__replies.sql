with source as (
    {{ newest('replies') }}
),
renamed as (
    select
        cast(tenant_id as varchar) as tenant_id,
        cast(id as varchar) as reply_id,
        cast(message_id as varchar) as message_id,
        cast(contact_id as varchar) as contact_id,
        cast(in_reply_to_id as varchar) as in_reply_to_id,
        cast(campaign_id as varchar) as campaign_id,
        cast(text_length as bigint) as text_length,
        timestamp as replied_at,
        classification,
        known_at
    from source
)
select * from renamed
