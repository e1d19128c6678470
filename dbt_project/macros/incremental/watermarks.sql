{#-
    Up to which load each model is built. A run notes the newest load when it starts, and at its end gives it to the models
    that were built and failed no test: what arrives meanwhile, and what a killed run began, is done again by the next.
    Where tables are replaced one by one, `is_whole` tells a run that came to a good end from one that did not.
    Which tests failed of whose rows is kept until they pass: a test of rows of nobody's concerns all (tenant_id is null).
-#}
{% macro watermarks() %}
    {{ return(api.Relation.create(database=target.database, schema='staging', identifier='_model_watermarks')) }}
{% endmacro %}

{% macro current_run() %}
    {{ return(api.Relation.create(database=target.database, schema='staging', identifier='_current_run')) }}
{% endmacro %}

{% macro failed_tests() %}
    {{ return(api.Relation.create(database=target.database, schema='staging', identifier='_failed_tests')) }}
{% endmacro %}

{% macro open_run() %}
{% if execute and flags.WHICH in ('run', 'build') %}
create schema if not exists staging;
create table if not exists {{ watermarks() }} (
    model text primary key, load_id bigint not null, as_of timestamptz not null, project_digest text not null
);
create table if not exists {{ current_run() }} (load_id bigint not null, is_whole boolean not null);
create table if not exists {{ failed_tests() }} (test text not null, tenant_id text, row_count bigint not null);
delete from {{ current_run() }};
insert into {{ current_run() }} select coalesce(max(load_id), 0), false from {{ landing('_loads') }};
{% endif %}
{% endmacro %}

{% macro record_watermarks(results) %}
{% if execute and flags.WHICH in ('run', 'build') %}
{%- set doubted = [] -%}
{%- for result in results if result.node.resource_type != 'model' and result.status in ('fail', 'error', 'warn') -%}
    {%- do doubted.extend(result.node.depends_on.nodes) -%}
{%- endfor -%}
{%- set known = graph.nodes.values() | selectattr('resource_type', 'equalto', 'model') | map(attribute='name') | list -%}
delete from {{ watermarks() }} where model not in ({{ quoted(known) }});
{% for result in results
    if result.node.resource_type == 'model' and result.status == 'success' and result.node.unique_id not in doubted %}
{%- set parents = result.node.depends_on.nodes | select('in', graph.nodes) | map('replace', 'model.rapport.', '') | list %}
delete from {{ watermarks() }} where model = '{{ result.node.name }}';
insert into {{ watermarks() }}
select '{{ result.node.name }}',
    least(load_id, (select min(load_id) from {{ watermarks() }} where model in ({{ quoted(parents) }}))),
    {{ as_of() }}, '{{ var("project_digest") }}'
from {{ current_run() }};
{% endfor %}
{{ record_failed_tests(results) }}
{%- if not (results | rejectattr('status', 'in', ['success', 'pass', 'warn', 'no-op']) | list) %}
update {{ current_run() }} set is_whole = not exists (select 1 from {{ failed_tests() }} where tenant_id is null);
{%- endif %}
{% endif %}
{% endmacro %}

{% macro record_failed_tests(results) %}
{%- set tests = graph.nodes.values() | selectattr('resource_type', 'equalto', 'test') | map(attribute='name') | list -%}
delete from {{ failed_tests() }} where test not in ({{ quoted(tests) }});
{% for result in results if result.node.resource_type == 'test' -%}
delete from {{ failed_tests() }} where test = '{{ result.node.name }}';
{% if result.status in ('fail', 'error', 'warn') -%}
{%- set rows = '(' ~ result.node.compiled_code ~ ') as failing' -%}
{%- if result.status != 'error' and 'tenant_id' in get_columns_in_query('select * from ' ~ rows) -%}
insert into {{ failed_tests() }} select '{{ result.node.name }}', tenant_id, count(*) from {{ rows }} group by tenant_id;
{% else -%}
insert into {{ failed_tests() }} values ('{{ result.node.name }}', null, {{ result.failures or 0 }});
{% endif -%}
{%- endif -%}
{%- endfor -%}
{% endmacro %}

{% macro quoted(names) -%} '{{ names | join("', '") }}' {%- endmacro %}

{#- {load, day}: what the model holds. None when it is to be built whole. Another model's than the one being built: only
    while tests run in a build, so that they judge what this build made; tests run alone judge everything. -#}
{% macro built_up_to(model_name=none) %}
    {% if not execute %}{{ return(none) }}{% endif %}
    {% if model_name %}
        {% if flags.WHICH != 'build' or flags.FULL_REFRESH %}{{ return(none) }}{% endif %}
    {% elif not is_incremental() %}
        {{ return(none) }}
    {% endif %}
    {% set rows = run_query(
        "select load_id, " ~ day_index('as_of') ~ ", " ~ day_index(as_of()) ~ " from " ~ watermarks()
        ~ " where model = '" ~ (model_name or this.identifier) ~ "'"
    ).rows %}
    {{ return({'load': rows[0][0] | int, 'day': rows[0][1] | int, 'last_day': rows[0][2] | int} if rows else none) }}
{% endmacro %}
