{{ incremental_by_row('tenants', 'tenant_id') }}
with source as (
    {{ newest('tenants') }}
),
renamed as (
    select
        cast(id as text) as tenant_id,
        slug,
        timezone,
        backfilled_until,
        settings,
        -- A fraction of a cent is a real price; a setting that is no number must not stop everybody's build.
        case
            when {{ json_text('settings', 'message_cost_cents') }} ~ '^[0-9]{1,6}(\.[0-9]{1,4})?$'
                then cast({{ json_text('settings', 'message_cost_cents') }} as numeric(12, 4))
        end as message_cost_cents,
        _load_id as load_id
    from source
)
select * from renamed
