{#-
    Sparse daily snapshots of one view: a row per tenant, contact and day on which one of its numbers changes.

    `branches`: where its events come from: [{'from': relation, 'at': column, 'known': column, 'values': {measure: SQL}}],
    with 'anchor' (what windows are counted from: the column `at` unless named) and 'where'. An event enters a window of
    w days the first midnight after it happened and was known, and leaves it w + 1 days after its anchor's; one known only
    after that never enters. Sums of what enters and leaves, cumulated, are the windows: linear in events, and a late
    event is in no snapshot from before it was known.

    `sums`: [{'name', 'measure', 'days'}], days 0 = ever. `lasts`: [{'name', 'measure'}], the newest `at` so far.

    On a second run the contacts about whom anything changed that a day built may show are built whole. Of the others only
    the days since are added, for those with an event entering or leaving a window on them: what came before is carried as
    one sum. News that happened and became known on the last day built or later is in none of its snapshots (ADR 13).
-#}
{% macro rolling_features(branches, sums, lasts=[]) %}
{%- set windows = sums | map(attribute='days') | select('gt', 0) | unique | sort | list -%}
{%- set measures = (sums + lasts) | map(attribute='measure') | unique | list -%}
{%- set built = built_up_to() -%}
{%- set part = contact_parts()[0] -%}
{%- set person = 'person' if built is not none else 'tenant_id, contact_id' -%}
with
{%- if built is not none %}
changed as (
    select tenant_id, contact_id from {{ contacts_changed_before(built) }}
),
touched as (
    select tenant_id, contact_id from changed
    {%- for relation in branches | map(attribute='from') | unique %}
    union
    select tenant_id, contact_id
    from {{ relation }}
    where {% for branch in branches if branch.from == relation -%}
        {{ branch.where ~ ' and ' if branch.where }}(
            {{ on_days('greatest(' ~ branch.at ~ ', ' ~ branch.known ~ ')', built.day, built.last_day - 1) }}
            {%- for days in windows %}
            or {{ on_days(branch.anchor or branch.at, built.day - days, built.last_day - days - 1) }}
            {%- endfor %}
        ){{ ' or ' if not loop.last }}
    {%- endfor %}
    {%- endfor %}
),
-- Grouped and sorted by a number, which is cheaper than by two texts.
people as (
    select
        tenant_id,
        contact_id,
        row_number() over (order by contact_id, tenant_id) as person,
        (tenant_id, contact_id) in (select tenant_id, contact_id from changed) as is_changed
    from touched
),
{%- endif %}
events as (
    {%- for branch in branches %}
    select
        {{ person ~ ', is_changed' if built is not none else person }},
        {{ branch.at }} as occurred_at,
        {{ day_index('greatest(' ~ branch.at ~ ', ' ~ branch.known ~ ')') }} + 1 as visible_day,
        {{ day_index(branch.anchor or branch.at) }} as anchor_day,
        {%- for measure in measures %}
        {{ branch['values'].get(measure, 0) }} as {{ measure }}{{ ',' if not loop.last }}
        {%- endfor %}
    from {{ branch['from'] }} as source
    {%- if built is not none %}
    inner join people on people.contact_id = source.contact_id and people.tenant_id = source.tenant_id
    {%- endif %}
    where {{ branch.at }} is not null{{ ' and ' ~ branch.where if branch.where }}
        and {{ part if built is none else 'source.contact_id in (select contact_id from people)' }}
    {{- ' union all' if not loop.last }}
    {%- endfor %}
),
-- An event comes into sight (0) and leaves each window after its days; -1 is all that was in sight on the last day built.
steps as (
    select 0 as days
    {%- for days in ([-1] if built is not none else []) + windows %}
    union all
    select {{ days }}
    {%- endfor %}
),
moved as (
    select
        events.*,
        steps.days,
        case
            when steps.days = 0 then visible_day
            {%- if built is not none %}
            when steps.days = -1 then {{ built.day }}
            {%- endif %}
            else anchor_day + steps.days + 1
        end as day
    from events
    cross join steps
),
changes as (
    select
        {{ person }},
        {%- for sum in sums %}
        {%- if sum.days %}
        case
            when days = {{ sum.days }} then -{{ sum.measure }}
            when days = 0 and visible_day <= anchor_day + {{ sum.days }} then {{ sum.measure }}
            {%- if built is not none %}
            when days = -1 and anchor_day + {{ sum.days }} >= {{ built.day }} then {{ sum.measure }}
            {%- endif %}
            else 0
        end as {{ sum.name }},
        {%- else %}
        case when days <= 0 then {{ sum.measure }} else 0 end as {{ sum.name }},
        {%- endif %}
        {%- endfor %}
        {%- for last in lasts %}
        case when days <= 0 and {{ last.measure }} <> 0 then occurred_at end as {{ last.name }},
        {%- endfor %}
        day
    from moved
    where day <= {{ built.last_day if built is not none else day_index(as_of()) }}
    {%- if built is not none %}
    and case when days = -1 then not is_changed and visible_day <= {{ built.day }} else is_changed or day > {{ built.day }} end
    {%- endif %}
    and (
        days = 0
        {%- if built is not none %}
        or (days = -1 and (
            {%- for measure in measures %}
            {%- set reach = sums | selectattr('measure', 'equalto', measure) | map(attribute='days') | list %}
            {%- set is_for_ever = 0 in reach or measure in lasts | map(attribute='measure') %}
            {{- measure }} <> 0{{ ' and anchor_day + ' ~ reach | max ~ ' >= ' ~ built.day if not is_for_ever }}
            {{- ' or ' if not loop.last }}
            {%- endfor -%}
        ))
        {%- endif %}
        {%- for window in windows %}
        or (days = {{ window }} and visible_day <= anchor_day + {{ window }} and (
            {%- for sum in sums if sum.days == window -%}
            {{ sum.measure }} <> 0{{ ' or ' if not loop.last }}
            {%- endfor -%}
        ))
        {%- endfor %}
    )
),
daily as (
    select
        {{ person }},
        {%- for sum in sums %}
        cast(sum({{ sum.name }}) as bigint) as {{ sum.name }},
        {%- endfor %}
        {%- for last in lasts %}
        max({{ last.name }}) as {{ last.name }},
        {%- endfor %}
        day
    from changes
    group by {{ person }}, day
),
cumulated as (
    select
        {{ person }},
        {%- for sum in sums %}
        cast(sum({{ sum.name }}) over until_day as bigint) as {{ sum.name }},
        {%- endfor %}
        {%- for last in lasts %}
        max({{ last.name }}) over until_day as {{ last.name }},
        {%- endfor %}
        day
    from daily
    window until_day as (partition by {{ person }} order by day rows between unbounded preceding and current row)
),
snapshots as (
    select *, {{ midnight('day') }} as event_timestamp, {{ midnight('day') }} as created_timestamp
    from cumulated
    {%- if built is not none %}
    inner join people using (person)
    where is_changed or day > {{ built.day }}
    {%- endif %}
)
{% endmacro %}

{#- Whether a moment lies on one of these days (UTC), as a comparison with the column itself. -#}
{% macro on_days(moment, first, last) -%}
    ({{ moment }} >= {{ midnight(first) }} and {{ moment }} < {{ midnight(last + 1) }})
{%- endmacro %}

{#- A model of rolling features: what of it a second run builds anew is forgotten first. -#}
{% macro incremental_by_contact_and_day() %}
{{ config(
    materialized='incremental',
    incremental_strategy='append',
    on_schema_change='fail',
    pre_hook=["{{ forget_changed_histories() }}", "{{ forget_days_to_come() }}"],
    post_hook="{{ add_other_parts() }}",
    meta={'rebuilt_by': 'contact'},
) }}
{% endmacro %}

{#- The contacts, as a FROM clause, about whom anything changed that a day built may show. -#}
{% macro contacts_changed_before(built) -%}
    {%- set changed = ref('int_contacts__changed') -%}
    {%- if built is not none -%}
    {{ changed }} where changed_load > {{ built.load }} and since_day < {{ built.day }}
    {%- endif -%}
{%- endmacro %}

{#- A table without a watermark is what a killed first build left. -#}
{% macro forget_changed_histories() -%}
    {%- set built = built_up_to() -%}
    {%- set changed = contacts_changed_before(built) -%}
    {%- if execute and is_incremental() -%}
    delete from {{ this }}
    {%- if built is not none %}
    where {{ is_one_of(changed) }}
    {%- endif -%}
    {%- endif -%}
{%- endmacro %}

{#- Days after the last one built: an unfinished run left them, or a build as of a later moment when that went back. -#}
{% macro forget_days_to_come() -%}
    {%- if execute and is_incremental() -%}
    {%- set built = built_up_to() -%}
    {%- if built is not none -%}
    delete from {{ this }} where event_timestamp > {{ midnight([built.day, built.last_day] | min) }}
    {%- endif -%}
    {%- endif -%}
{%- endmacro %}
