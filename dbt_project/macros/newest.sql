{#- The newest version of each row of a raw table: raw keeps every version that arrived. -#}
{% macro newest(table, key='tenant_id, id') -%}
    select * from (
        select
            *,
            row_number() over (partition by {{ key }} order by changed_xid desc, created_timestamp desc) as version_rank
        from {{ source('operational', table) }}
    ) as versions
    where version_rank = 1
{%- endmacro %}
