{#- A table of the schema raw that is bookkeeping of ingest, not data: no source, so no lineage. -#}
{% macro landing(table) %}
    {{ return(api.Relation.create(database=landing_database(), schema='raw', identifier=table)) }}
{% endmacro %}

{% macro landing_database() %}{{ return(adapter.dispatch('landing_database')()) }}{% endmacro %}
{% macro duckdb__landing_database() %}{{ return('landing') }}{% endmacro %}
{% macro postgres__landing_database() %}{{ return(target.dbname) }}{% endmacro %}
