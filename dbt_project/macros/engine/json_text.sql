{#- The value under a key of a JSON object kept as text, as text; null when there is none. -#}
{% macro json_text(object, key) %}{{ return(adapter.dispatch('json_text')(object, key)) }}{% endmacro %}
{% macro duckdb__json_text(object, key) -%} json_extract_string({{ object }}, '$."{{ key }}"') {%- endmacro %}
{% macro postgres__json_text(object, key) -%} (cast({{ object }} as jsonb) ->> '{{ key }}') {%- endmacro %}
