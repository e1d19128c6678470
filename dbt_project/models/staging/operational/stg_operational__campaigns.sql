with source as (
    {{ newest('campaigns') }}
),
renamed as (
    select
        cast(tenant_id as varchar) as tenant_id,
        cast(id as varchar) as campaign_id,
        name,
        type,
        status,
        message_template,
        template_name,
        attributes,
        conversion_event,
        attribution_seconds,
        holdout_rate,
        start_date as started_at,
        end_date as ended_at,
        cast(segment_id as varchar) as segment_id,
        external_id,
        known_at,
        created_at
    from source
)
select * from renamed
