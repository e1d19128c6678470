with source as (
    {{ newest('outbound_messages') }}
),
renamed as (
    select
        cast(tenant_id as varchar) as tenant_id,
        cast(id as varchar) as outbound_message_id,
        cast(campaign_id as varchar) as campaign_id,
        cast(contact_id as varchar) as contact_id,
        purpose,
        state,
        reason,
        attempt,
        accepted_at,
        created_at as queued_at
    from source
)
select * from renamed
