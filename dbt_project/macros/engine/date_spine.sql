{#- A subquery of every date from `first` to `last`, both included, in one column `date_day`. -#}
{% macro date_spine(first, last) %}{{ return(adapter.dispatch('date_spine', 'rapport')(first, last)) }}{% endmacro %}
{% macro default__date_spine(first, last) -%}
    (
        select cast(spine.date_day as date) as date_day
        from generate_series(
            cast({{ first }} as timestamp), cast({{ last }} as timestamp), interval '1 day'
        ) as spine (date_day)
    )
{%- endmacro %}
{#- The function takes no columns as bounds in a FROM clause here, so it is unnested in a select. -#}
{% macro duckdb__date_spine(first, last) -%}
    (
        select cast(
            unnest(generate_series(cast({{ first }} as timestamp), cast({{ last }} as timestamp), interval '1 day')) as date
        ) as date_day
    )
{%- endmacro %}
