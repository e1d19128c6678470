{#-
    Sparse daily snapshots of one view: a row per tenant, contact and day on which one of its numbers changes.

    `events`: a relation with tenant_id, contact_id, measure, value, occurred_at, visible_day and anchor_day. An event
    enters a window of w days at `visible_day` (the first midnight after it was known) and leaves it at
    anchor_day + w + 1; an event known only after that never enters. Sums of what enters and leaves, cumulated, are the
    windows: linear in events, and a late event is in no snapshot from before it was known.

    `sums`: [{'name', 'measure', 'days'}], days 0 = ever. `lasts`: [{'name', 'measure'}], the newest occurred_at so far.
-#}
{% macro rolling_features(events, sums, lasts=[]) %}
{%- set measures = (sums + lasts) | map(attribute='measure') | unique | list -%}
{%- set windows = sums | map(attribute='days') | select('gt', 0) | unique | list -%}
with events as (
    select tenant_id, contact_id, measure, value, occurred_at, visible_day, anchor_day
    from {{ events }}
    where measure in ({% for measure in measures %}'{{ measure }}'{{ ', ' if not loop.last }}{% endfor %})
),
windows as (
    {%- for days in windows %}
    select {{ days }} as days{{ ' union all' if not loop.last }}
    {%- endfor %}
),
changes as (
    select tenant_id, contact_id, measure, visible_day as day, 0 as days, value, occurred_at
    from events
    union all
    select events.tenant_id, events.contact_id, events.measure, events.visible_day, windows.days, events.value, null
    from events
    inner join windows on events.visible_day <= events.anchor_day + windows.days
    union all
    select events.tenant_id, events.contact_id, events.measure, events.anchor_day + windows.days + 1, windows.days,
        -events.value, null
    from events
    inner join windows on events.visible_day <= events.anchor_day + windows.days
),
daily as (
    select
        tenant_id,
        contact_id,
        day,
        {%- for sum in sums %}
        sum(case when measure = '{{ sum.measure }}' and days = {{ sum.days }} then value else 0 end) as {{ sum.name }},
        {%- endfor %}
        {%- for last in lasts %}
        max(case when measure = '{{ last.measure }}' and days = 0 then occurred_at end) as {{ last.name }},
        {%- endfor %}
        count(*) as change_count
    from changes
    where day <= {{ day_index(as_of()) }}
    group by tenant_id, contact_id, day
),
snapshots as (
    select
        tenant_id,
        contact_id,
        day,
        {%- for sum in sums %}
        cast(sum({{ sum.name }}) over until_day as bigint) as {{ sum.name }},
        {%- endfor %}
        {%- for last in lasts %}
        max({{ last.name }}) over until_day as {{ last.name }},
        {%- endfor %}
        {{ midnight('day') }} as event_timestamp,
        {{ midnight('day') }} as created_timestamp
    from daily
    window until_day as (partition by tenant_id, contact_id order by day rows between unbounded preceding and current row)
)
{% endmacro %}
