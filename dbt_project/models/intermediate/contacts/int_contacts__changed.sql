{#- What every table of a contact's own rows calls the contact. Scores are left out: all are rewritten every day. -#}
{%- set contact_columns = {
    'contacts': 'id', 'messages': 'contact_id', 'replies': 'contact_id', 'orders': 'contact_id',
    'conversions': 'contact_id', 'consents': 'contact_id', 'consent_events': 'contact_id',
    'conversations': 'contact_id', 'outbound_messages': 'contact_id', 'decisions': 'contact_id',
} -%}
{#- What belongs to one of their rows and does not name the contact itself. -#}
{%- set parts = {'messages': ['message_status_events', 'message_id'], 'orders': ['order_items', 'order_id']} -%}
{{ config(
    materialized='incremental',
    incremental_strategy='append',
    on_schema_change='fail',
    pre_hook="{{ forget_settled_contacts() }}",
) }}
-- The contacts about whom any row arrived or vanished since this table was last built. Every version of a row that arrived
-- names a contact: the row may have been another's.
{%- set built = built_up_to() %}
{%- if built is none %}
select tenant_id, contact_id, (select load_id from {{ current_run() }}) as changed_load
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
    select tenant_id, {{ contact }} as contact_id
    from {{ source('operational', table) }}
    where id in (
        select id from {{ source('operational', table) }} where _load_id > {{ built.load }}
        {%- if table in parts %}
        union all
        select {{ parts[table][1] }} from {{ source('operational', parts[table][0]) }} where _load_id > {{ built.load }}
        {%- endif %}
    )
    union all
    {%- endfor %}
    select tenant_id, contact_id
    from {{ source('operational', 'deletions') }}
    where _load_id > {{ built.load }} and contact_id is not null
    union all
    select tenant_id, id
    from {{ source('operational', 'contacts') }}
    where tenant_id in ({{ changed_settings('tenants', ['timezone', 'backfilled_until'], built.load) }})
    union all
    select tenant_id, contact_id
    from {{ source('operational', 'messages') }}
    where campaign_id in ({{ changed_settings('campaigns', ['attribution_seconds', 'conversion_event'], built.load) }})
    union all
    select tenant_id, contact_id
    from {{ source('operational', 'decisions') }}
    where campaign_id in ({{ changed_settings('campaigns', ['attribution_seconds', 'conversion_event'], built.load) }})
)
select distinct
    cast(tenant_id as text) as tenant_id,
    cast(contact_id as text) as contact_id,
    (select load_id from {{ current_run() }}) as changed_load
from changed
{%- endif %}
