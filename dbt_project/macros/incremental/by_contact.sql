{#- A model that rebuilds, on a second run, the rows of exactly the contacts anything changed about. It has the columns
    tenant_id and contact_id, and reads each input `where {{ contact_is_rebuilt('alias') }}`. -#}
{% macro incremental_by_contact() %}
{{ config(
    materialized='incremental',
    incremental_strategy='append',
    on_schema_change='fail',
    pre_hook="{{ forget_changed_contacts() }}",
    meta={'rebuilt_by': 'contact'},
) }}
{% endmacro %}

{#- True for the rows of contacts that are built now. With `model`, in a test: that were rebuilt by this build. -#}
{% macro contact_is_rebuilt(alias=none, model=none) -%}
    {%- set changed = ref('int_contacts__changed') -%}
    {%- set built = built_up_to(model) -%}
    {%- if built is none -%} true {%- else -%} {{ contact_changed_since(built.load, changed, alias) }} {%- endif -%}
{%- endmacro %}

{% macro contact_changed_since(load, changed, alias=none) -%}
    {{ is_one_of(changed ~ ' where changed_load > ' ~ load, alias) }}
{%- endmacro %}

{#- True for rows of the contacts a FROM clause names. The first half says nothing new, but DuckDB can tell by one column
    which rows to read the others of, and not by two. -#}
{% macro is_one_of(contacts, alias=none) -%}
    {%- set of = alias ~ '.' if alias else '' -%}
    ({{ of }}contact_id in (select contact_id from {{ contacts }})
    and ({{ of }}tenant_id, {{ of }}contact_id) in (select tenant_id, contact_id from {{ contacts }}))
{%- endmacro %}

{#- A table without a watermark is what a killed first build left. -#}
{% macro forget_changed_contacts() -%}
    {%- set condition = contact_is_rebuilt() -%}
    {%- if execute and is_incremental() -%} delete from {{ this }} where {{ condition }} {%- endif -%}
{%- endmacro %}
