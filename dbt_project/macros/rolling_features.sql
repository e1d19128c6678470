{#-
    Sparse daily snapshots of one view: a row per tenant, contact and day on which one of its numbers changes.

    `branches`: where its events come from: [{'from': relation, 'at': column, 'known': column, 'values': {measure: SQL}}],
    with 'anchor' (what windows are counted from: the column `at` unless named) and 'where'. An event enters a window of
    w days the first midnight after it happened and was known, and leaves it w + 1 days after its anchor's; one known only
    after that never enters. Sums of what enters and leaves, cumulated, are the windows: linear in events, and a late
    event is in no snapshot from before it was known.

    `sums`: [{'name', 'measure', 'days'}], days 0 = ever. `lasts`: [{'name', 'measure'}], the newest `at` so far.

    On a second run the contacts anything changed about are built whole. Of the others only the days since are added, for
    those with an event entering or leaving a window on them: what came before is carried as one sum.
-#}
{% macro rolling_features(branches, sums, lasts=[]) %}
{%- set windows = sums | map(attribute='days') | select('gt', 0) | unique | sort | list -%}
{%- set measures = (sums + lasts) | map(attribute='measure') | unique | list -%}
{%- set built = built_up_to() -%}
{%- set part = contact_parts()[0] -%}
{%- set group = 'is_changed, day' if built is not none else 'day' -%}
with branches as (
    {%- for branch in branches %}
    select
        tenant_id,
        contact_id,
        {{ branch.at }} as occurred_at,
        {{ day_index('greatest(' ~ branch.at ~ ', ' ~ branch.known ~ ')') }} + 1 as visible_day,
        {{ day_index(branch.anchor or branch.at) }} as anchor_day,
        {%- for measure in measures %}
        {{ branch['values'].get(measure, 0) }} as {{ measure }}{{ ',' if not loop.last }}
        {%- endfor %}
    from {{ branch['from'] }}
    where {{ branch.at }} is not null{{ ' and ' ~ branch.where if branch.where }}{{ ' and ' ~ part if built is none }}
    {{- ' union all' if not loop.last }}
    {%- endfor %}
),
{%- if built is not none %}
changed as (
    select tenant_id, contact_id from {{ ref('int_contacts__changed') }} where changed_load > {{ built.load }}
),
touched as (
    select tenant_id, contact_id from changed
    union
    select tenant_id, contact_id
    from branches
    where visible_day between {{ built.day + 1 }} and {{ built.last_day }}
        {%- for days in windows %}
        or anchor_day between {{ built.day - days }} and {{ built.last_day - days - 1 }}
        {%- endfor %}
),
events as (
    select *, (tenant_id, contact_id) in (select tenant_id, contact_id from changed) as is_changed
    from branches
    where (tenant_id, contact_id) in (select tenant_id, contact_id from touched)
),
{%- else %}
events as (
    select * from branches
),
{%- endif %}
steps as (
    select 0 as days
    {%- for days in windows %}
    union all
    select {{ days }}
    {%- endfor %}
),
{%- set day = 'case when steps.days = 0 then visible_day else anchor_day + steps.days + 1 end' %}
changes as (
    select
        tenant_id,
        contact_id,
        {%- for sum in sums %}
        {%- if sum.days %}
        case
            when steps.days = {{ sum.days }} then -{{ sum.measure }}
            when steps.days = 0 and visible_day <= anchor_day + {{ sum.days }} then {{ sum.measure }}
            else 0
        end as {{ sum.name }},
        {%- else %}
        case when steps.days = 0 then {{ sum.measure }} else 0 end as {{ sum.name }},
        {%- endif %}
        {%- endfor %}
        {%- for last in lasts %}
        case when steps.days = 0 and {{ last.measure }} <> 0 then occurred_at end as {{ last.name }},
        {%- endfor %}
        {% if built is not none %}is_changed,{% endif %}
        {{ day }} as day
    from events
    cross join steps
    where (
        steps.days = 0
        {%- for days in windows %}
        or (steps.days = {{ days }} and visible_day <= anchor_day + {{ days }} and (
            {%- for sum in sums if sum.days == days -%}
            {{ sum.measure }} <> 0{{ ' or ' if not loop.last }}
            {%- endfor -%}
        ))
        {%- endfor %}
    )
    {%- if built is not none %}
    and (is_changed or {{ day }} > {{ built.day }})
    union all
    -- What the others' windows held on the last day built.
    select
        tenant_id,
        contact_id,
        {%- for sum in sums %}
        {%- if sum.days %}
        case when anchor_day + {{ sum.days }} >= {{ built.day }} then {{ sum.measure }} else 0 end as {{ sum.name }},
        {%- else %}
        {{ sum.measure }} as {{ sum.name }},
        {%- endif %}
        {%- endfor %}
        {%- for last in lasts %}
        case when {{ last.measure }} <> 0 then occurred_at end as {{ last.name }},
        {%- endfor %}
        false,
        {{ built.day }}
    from events
    where not is_changed and visible_day <= {{ built.day }}
    {%- endif %}
),
daily as (
    select
        tenant_id,
        contact_id,
        {%- for sum in sums %}
        cast(sum({{ sum.name }}) as bigint) as {{ sum.name }},
        {%- endfor %}
        {%- for last in lasts %}
        max({{ last.name }}) as {{ last.name }},
        {%- endfor %}
        {{ group }}
    from changes
    where day <= {{ built.last_day if built is not none else day_index(as_of()) }}
    group by tenant_id, contact_id, {{ group }}
),
cumulated as (
    select
        tenant_id,
        contact_id,
        {%- for sum in sums %}
        cast(sum({{ sum.name }}) over until_day as bigint) as {{ sum.name }},
        {%- endfor %}
        {%- for last in lasts %}
        max({{ last.name }}) over until_day as {{ last.name }},
        {%- endfor %}
        {{ group }}
    from daily
    window until_day as (partition by tenant_id, contact_id order by day rows between unbounded preceding and current row)
),
snapshots as (
    select *, {{ midnight('day') }} as event_timestamp, {{ midnight('day') }} as created_timestamp
    from cumulated
    {%- if built is not none %}
    where is_changed or day > {{ built.day }}
    {%- endif %}
)
{% endmacro %}

{#- Days a build as of a later moment left, when the moment went back. -#}
{% macro forget_days_to_come() -%}
    {%- if execute and is_incremental() -%}
    {%- set built = built_up_to() -%}
    {%- if built is not none and built.last_day < built.day -%}
    delete from {{ this }} where event_timestamp > {{ as_of() }}
    {%- endif -%}
    {%- endif -%}
{%- endmacro %}
