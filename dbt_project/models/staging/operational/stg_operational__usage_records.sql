{{ incremental_by_row('usage_records', 'usage_record_id') }}
with source as (
    {{ newest('usage_records') }}
),
renamed as (
    select
        cast(tenant_id as text) as tenant_id,
        cast(id as text) as usage_record_id,
        date as usage_date,
        cast(api_calls as bigint) as api_calls,
        cast(messages_sent as bigint) as messages_sent,
        _load_id as load_id
    from source
)
select * from renamed
