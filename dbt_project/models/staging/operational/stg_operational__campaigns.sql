{{ incremental_by_row('campaigns', 'campaign_id') }}
with source as (
    {{ newest('campaigns') }}
),
renamed as (
    select
        cast(tenant_id as text) as tenant_id,
        cast(id as text) as campaign_id,
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
        cast(segment_id as text) as segment_id,
        external_id,
        known_at,
        created_at,
        _load_id as load_id
    from source
)
select * from renamed
