{#- The folder's schema as it is written, without the target's name before it: staging, intermediate, features, marts. -#}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {{ (custom_schema_name or target.schema) | trim }}
{%- endmacro %}
