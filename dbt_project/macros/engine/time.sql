{#- Days since the epoch (UTC) as a bigint: what windows are counted in. -#}
{% macro day_index(moment) %}{{ return(adapter.dispatch('day_index')(moment)) }}{% endmacro %}
{% macro duckdb__day_index(moment) -%} (epoch_us({{ moment }}) // 86400000000) {%- endmacro %}
{% macro postgres__day_index(moment) -%} cast(floor(extract(epoch from {{ moment }}) / 86400) as bigint) {%- endmacro %}

{#- Midnight UTC of a day index. -#}
{% macro midnight(day) %}{{ return(adapter.dispatch('midnight')(day)) }}{% endmacro %}
{% macro duckdb__midnight(day) -%} make_timestamptz(cast({{ day }} as bigint) * 86400000000) {%- endmacro %}
{% macro postgres__midnight(day) -%} to_timestamp(cast({{ day }} as double precision) * 86400) {%- endmacro %}

{#- The UTC date of a moment. -#}
{% macro utc_date(moment) -%} cast({{ local_time(moment, "'UTC'") }} as date) {%- endmacro %}

{#- The UTC hour a moment lies in, as a moment. -#}
{% macro utc_hour(moment) -%} date_trunc('hour', {{ moment }}) {%- endmacro %}

{#- A moment so many seconds (a whole number) later. -#}
{% macro seconds_after(moment, seconds) -%} ({{ moment }} + {{ seconds }} * interval '1 second') {%- endmacro %}

{#- Microseconds from one moment to another, as a bigint. -#}
{% macro micros_between(earlier, later) %}{{ return(adapter.dispatch('micros_between')(earlier, later)) }}{% endmacro %}
{% macro duckdb__micros_between(earlier, later) -%} (epoch_us({{ later }}) - epoch_us({{ earlier }})) {%- endmacro %}
{% macro postgres__micros_between(earlier, later) -%}
    cast((extract(epoch from {{ later }}) - extract(epoch from {{ earlier }})) * 1000000 as bigint)
{%- endmacro %}

{#- Whole seconds from one moment to a later one, as a bigint; what is left over is dropped. -#}
{% macro seconds_between(earlier, later) %}{{ return(adapter.dispatch('seconds_between')(earlier, later)) }}{% endmacro %}
{% macro duckdb__seconds_between(earlier, later) -%} ({{ micros_between(earlier, later) }} // 1000000) {%- endmacro %}
{% macro postgres__seconds_between(earlier, later) -%} ({{ micros_between(earlier, later) }} / 1000000) {%- endmacro %}

{#- What the clock on a wall of that zone shows at a moment: a timestamp without a zone. -#}
{% macro local_time(moment, zone) -%} ({{ moment }} at time zone {{ zone }}) {%- endmacro %}

{#- Hour (0 to 23) and weekday (1 is Monday, 7 is Sunday) on that clock, as bigint. -#}
{% macro local_hour(moment, zone) -%} cast(extract(hour from {{ local_time(moment, zone) }}) as bigint) {%- endmacro %}
{% macro local_weekday(moment, zone) -%} cast(extract(isodow from {{ local_time(moment, zone) }}) as bigint) {%- endmacro %}

{#- The moment the warehouse describes: one for a whole run. -#}
{% macro as_of() -%} cast('{{ var("as_of") or run_started_at.isoformat() }}' as timestamptz) {%- endmacro %}
