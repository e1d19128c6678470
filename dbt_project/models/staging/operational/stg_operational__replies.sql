{{ incremental_by_row('replies', 'reply_id') }}
with source as (
    {{ newest('replies') }}
),
renamed as (
    select
        cast(tenant_id as text) as tenant_id,
        cast(id as text) as reply_id,
        cast(message_id as text) as message_id,
        cast(contact_id as text) as contact_id,
        cast(in_reply_to_id as text) as in_reply_to_id,
        cast(campaign_id as text) as campaign_id,
        cast(text_length as bigint) as text_length,
        timestamp as replied_at,
        classification,
        known_at,
        _load_id as load_id
    from source
)
select * from renamed
