{#- A staging model: the newest version of each row of a raw table; on a second run only of the rows that arrived. `key` is
    what the model calls the row's id. -#}
{% macro incremental_by_row(table, key) %}
{{ config(
    materialized='incremental',
    incremental_strategy='append',
    on_schema_change='fail',
    pre_hook="{{ forget_changed_rows('" ~ table ~ "', '" ~ key ~ "') }}",
    meta={'rebuilt_by': 'row'},
) }}
{% endmacro %}

{#-
    The newest version of each row of a raw table: a load is the source at one moment and holds a row once. So on a second
    run what arrived is the newest, and on a first only rows of more than one load need to be ranked.
-#}
{% macro newest(table) -%}
    {%- set rows = source('operational', table) -%}
    {%- set built = built_up_to() -%}
    {%- if built is not none %}
    select * from (
        select *, row_number() over (partition by id order by _load_id desc) as version_rank
        from {{ rows }}
        where _load_id > {{ built.load }}
    ) as versions
    where version_rank = 1
    {%- else %}
    select * from (
        select *, 1 as version_rank
        from {{ rows }} as arrived
        where not exists ({{ arrived_again(rows) }})
        union all
        select *, row_number() over (partition by id order by _load_id desc) as version_rank
        from {{ rows }} as arrived
        where exists ({{ arrived_again(rows) }})
    ) as versions
    where version_rank = 1
    {%- endif %}
{%- endmacro %}

{% macro arrived_again(rows) -%}
    select 1 from {{ rows }} as later
    where later.id = arrived.id and later._load_id > (select min(_load_id) from {{ rows }})
{%- endmacro %}

{% macro forget_changed_rows(table, key) -%}
    {%- set rows = source('operational', table) -%}
    {%- if execute and is_incremental() -%}
    {%- set built = built_up_to() -%}
    delete from {{ this }}
    {%- if built is not none %}
    where {{ key }} in (
        select id from {{ rows }} where _load_id > {{ built.load }}
        union all
        select row_id from {{ landing('deletions') }} where table_name = '{{ table }}' and _load_id > {{ built.load }}
    )
    {%- endif -%}
    {%- endif -%}
{%- endmacro %}
