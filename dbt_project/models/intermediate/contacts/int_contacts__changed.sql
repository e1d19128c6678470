{#- What every table of a contact's own rows calls the contact. Scores are left out: all are rewritten every day. -#}
{%- set contact_columns = {
    'contacts': 'id', 'messages': 'contact_id', 'replies': 'contact_id', 'orders': 'contact_id',
    'conversions': 'contact_id', 'consents': 'contact_id', 'consent_events': 'contact_id',
    'conversations': 'contact_id', 'outbound_messages': 'contact_id', 'decisions': 'contact_id',
} -%}
{#- What belongs to one of their rows and does not name the contact itself. -#}
{%- set parts = {'messages': ['message_status_events', 'message_id'], 'orders': ['order_items', 'order_id']} -%}
{#- When what daily views count happened; the other tables they never read. -#}
{%- set happened = {
    'messages': 'timestamp', 'message_status_events': 'occurred_at', 'replies': 'timestamp', 'orders': 'ordered_at',
    'conversions': 'occurred_at', 'consent_events': 'occurred_at',
} -%}
{%- set since_day = {} -%}
{%- for table, moment in happened.items() -%}
    {%- do since_day.update({table: day_index('least(' ~ moment ~ ', known_at)')}) -%}
{%- endfor -%}
{{ config(
    materialized='incremental',
    incremental_strategy='append',
    on_schema_change='fail',
    pre_hook="{{ forget_settled_contacts() }}",
) }}
-- The contacts about whom any row arrived or vanished since this table was last built. Every version of a row that arrived
-- names a contact: the row may have been another's. A row that was there before, vanished, or whose settings changed may
-- matter to any day.
{%- set built = built_up_to() %}
{%- if built is none %}
select tenant_id, contact_id, cast(0 as bigint) as since_day, (select load_id from {{ current_run() }}) as changed_load
from {{ ref('stg_operational__contacts') }}
{%- for table in contact_columns %}
{#- A second run reads them. -#}
{%- do source('operational', table) -%}
{%- endfor %}
{%- do [source('operational', 'message_status_events'), source('operational', 'order_items'),
    source('operational', 'tenants'), source('operational', 'campaigns'), source('operational', 'deletions')] -%}
{%- else %}
with changed as (
    {%- for table, contact in contact_columns.items() %}
    select
        rows.tenant_id,
        rows.{{ contact }} as contact_id,
        case when rows._load_id <= {{ built.load }} and arrived.is_itself then 0 else arrived.since_day end as since_day
    from {{ source('operational', table) }} as rows
    inner join (
        select id, true as is_itself, {{ since_day.get(table, 'cast(null as bigint)') }} as since_day
        from {{ source('operational', table) }}
        where _load_id > {{ built.load }}
        {%- if table in parts %}
        union all
        select {{ parts[table][1] }}, false, {{ since_day.get(parts[table][0], 'cast(null as bigint)') }}
        from {{ source('operational', parts[table][0]) }}
        where _load_id > {{ built.load }}
        {%- endif %}
    ) as arrived on arrived.id = rows.id
    union all
    {%- endfor %}
    select tenant_id, contact_id, 0
    from {{ source('operational', 'deletions') }}
    where _load_id > {{ built.load }} and contact_id is not null
    union all
    select tenant_id, id, 0
    from {{ source('operational', 'contacts') }}
    where tenant_id in ({{ changed_settings('tenants', ['timezone', 'backfilled_until'], built.load) }})
    union all
    select tenant_id, contact_id, 0
    from {{ source('operational', 'messages') }}
    where campaign_id in ({{ changed_settings('campaigns', ['attribution_seconds', 'conversion_event'], built.load) }})
    union all
    select tenant_id, contact_id, 0
    from {{ source('operational', 'decisions') }}
    where campaign_id in ({{ changed_settings('campaigns', ['attribution_seconds', 'conversion_event'], built.load) }})
)
select
    cast(tenant_id as text) as tenant_id,
    cast(contact_id as text) as contact_id,
    cast(min(since_day) as bigint) as since_day,
    (select load_id from {{ current_run() }}) as changed_load
from changed
group by tenant_id, contact_id
{%- endif %}
