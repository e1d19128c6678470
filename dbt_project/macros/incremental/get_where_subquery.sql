{#- What a generic test reads of its model: in a build, the rows this build made; the others were judged when they were. -#}
{% macro get_where_subquery(relation) -%}
    {%- set conditions = [config.get('where')] | select | list -%}
    {%- set node = graph.nodes.get(model.attached_node) if execute else none -%}
    {%- set unit = node.config.meta.get('rebuilt_by') if node and relation.identifier == node.name -%}
    {%- set built = built_up_to(node.name) if unit -%}
    {%- if built and unit == 'contact' -%}
        {%- set changed = relation.incorporate(path={'schema': 'intermediate', 'identifier': 'int_contacts__changed'}) -%}
        {%- do conditions.append(contact_changed_since(built.load, changed)) -%}
    {%- elif built and unit == 'row' -%}
        {%- do conditions.append('load_id > ' ~ built.load) -%}
    {%- endif -%}
    {%- if conditions -%}
        {%- do return('(select * from ' ~ relation ~ ' where ' ~ conditions | join(' and ') ~ ') as judged') -%}
    {%- endif -%}
    {%- do return(relation) -%}
{%- endmacro %}
