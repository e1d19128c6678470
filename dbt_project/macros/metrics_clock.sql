{#- Quarters of an hour since the epoch as a bigint: every zone's clock is whole quarters off, so messages can be counted by
    them before the few quarters, not the many messages, are put on a clock. -#}
{% macro quarter_index(moment) %}{{ return(adapter.dispatch('quarter_index', 'rapport')(moment)) }}{% endmacro %}
{% macro duckdb__quarter_index(moment) -%} (epoch_us({{ moment }}) // 900000000) {%- endmacro %}
{% macro postgres__quarter_index(moment) -%} cast(floor(extract(epoch from {{ moment }}) / 900) as bigint) {%- endmacro %}

{#- The moment a quarter begins. -#}
{% macro quarter_start(quarter) %}{{ return(adapter.dispatch('quarter_start', 'rapport')(quarter)) }}{% endmacro %}
{% macro duckdb__quarter_start(quarter) -%} make_timestamptz({{ quarter }} * 900000000) {%- endmacro %}
{% macro postgres__quarter_start(quarter) -%} to_timestamp({{ quarter }} * cast(900 as double precision)) {%- endmacro %}
