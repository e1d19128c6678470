{#-
    A first build of more contacts than memory holds at once goes part by part: the model builds the first part, this
    post-hook adds the others, with the same SQL and another condition on contact_id. Ids are hexadecimal: the first digit
    cuts them in sixteen like parts, and any other text lies in one of them too.
-#}
{% macro contact_parts() %}
    {#- Not by ref(): it decides how to build, not what; and a unit test may run before there are contacts. -#}
    {% set contacts = adapter.get_relation(target.database, 'staging', 'stg_operational__contacts') if execute %}
    {% if not contacts or run_query('select count(*) from ' ~ contacts).rows[0][0] <= var('contacts_a_part') %}
        {{ return(['true']) }}
    {% endif %}
    {% set digits = '123456789abcdef' | list %}
    {% set parts = ["(contact_id < '1')"] %}
    {% for digit in digits[:-1] %}
        {% do parts.append("(contact_id >= '" ~ digit ~ "' and contact_id < '" ~ digits[loop.index] ~ "')") %}
    {% endfor %}
    {{ return(parts + ["(contact_id >= 'f')"]) }}
{% endmacro %}

{% macro add_other_parts() -%}
    {%- set parts = contact_parts() -%}
    {%- if execute and parts | length > 1 and parts[0] in compiled_code -%}
    {%- for part in parts[1:] %}
    insert into {{ this }} {{ compiled_code | replace(parts[0], part) }};
    {%- endfor -%}
    {%- endif -%}
{%- endmacro %}
