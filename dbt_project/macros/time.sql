{#- Days since the epoch (UTC) as an integer: what windows are counted in. -#}
{% macro day_index(moment) -%}
    cast(floor(extract(epoch from {{ moment }}) / 86400) as bigint)
{%- endmacro %}

{#- Midnight UTC of a day index. -#}
{% macro midnight(day) -%}
    to_timestamp(cast({{ day }} as double precision) * 86400)
{%- endmacro %}

{#- Seconds from one moment to another, as a float. -#}
{% macro seconds_between(earlier, later) -%}
    (extract(epoch from {{ later }}) - extract(epoch from {{ earlier }}))
{%- endmacro %}

{#- The moment the warehouse describes. -#}
{% macro as_of() -%}
    {%- if var('as_of') -%} cast('{{ var("as_of") }}' as timestamptz) {%- else -%} current_timestamp {%- endif -%}
{%- endmacro %}
