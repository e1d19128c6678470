{{ incremental_by_row('outbound_messages', 'outbound_message_id') }}
with source as (
    {{ newest('outbound_messages') }}
),
renamed as (
    select
        cast(tenant_id as text) as tenant_id,
        cast(id as text) as outbound_message_id,
        cast(campaign_id as text) as campaign_id,
        cast(contact_id as text) as contact_id,
        purpose,
        state,
        reason,
        attempt,
        accepted_at,
        created_at as queued_at,
        _load_id as load_id
    from source
)
select * from renamed
