{#- What a second run adds is read once, so here it is a view: written to a table first, every rebuilt row is written twice. -#}
{% macro duckdb__create_table_as(temporary, relation, compiled_code, language='sql', partitioned_by=none, sorted_by=none) -%}
    {%- if temporary and model.resource_type == 'model' -%}
    create temporary view {{ relation.include(database=false, schema=false) }} as ({{ compiled_code }});
    {%- else -%}
    {{ dbt.duckdb__create_table_as(temporary, relation, compiled_code, language, partitioned_by, sorted_by) }}
    {%- endif -%}
{%- endmacro %}
