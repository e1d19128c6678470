-- Orders, because both groups can order; a redemption needs the message that only one group got.
with arms as (
    select
        tenant_id,
        campaign_id,
        assignment as arm,
        count(*) as people,
        cast(sum(case when orders_in_window > 0 then 1 else 0 end) as bigint) as converted,
        cast(sum(revenue_in_window_cents) as bigint) as revenue_cents,
        -- Squares of cents leave bigint's range.
        sum(cast(revenue_in_window_cents as numeric(38, 0)) * cast(revenue_in_window_cents as numeric(38, 0)))
            as revenue_squares
    from {{ ref('fct_campaign_contacts') }}
    where assignment in ('treated', 'held_out')
    group by tenant_id, campaign_id, assignment
),
measured as (
    select
        tenant_id,
        campaign_id,
        arm,
        people,
        converted,
        {{ ratio('converted', 'people') }} as rate,
        revenue_cents,
        {{ ratio('revenue_cents', 'people') }} as revenue_per_person_cents,
        -- The squared standard error of the mean revenue.
        {{ ratio('revenue_squares * people - cast(revenue_cents as numeric(38, 0)) * revenue_cents',
                 'cast(people as numeric(38, 0)) * people * (people - 1)') }} as revenue_error_squared
    from arms
),
limited as (
    select
        *,
        {{ wilson_limit('rate', 'people', '-') }} as rate_low,
        {{ wilson_limit('rate', 'people', '+') }} as rate_high
    from measured
),
compared as (
    select
        arms.tenant_id,
        arms.campaign_id,
        arms.arm,
        arms.people,
        arms.converted,
        arms.rate,
        arms.rate_low,
        arms.rate_high,
        arms.revenue_cents,
        arms.revenue_per_person_cents,
        arms.rate - control.rate as difference,
        -- R. G. Newcombe (1998), Statistics in Medicine 17, 873-890, method 10: Wilson's limits of each arm, squared and added.
        arms.rate - control.rate - sqrt(
            (arms.rate - arms.rate_low) * (arms.rate - arms.rate_low)
            + (control.rate_high - control.rate) * (control.rate_high - control.rate)
        ) as difference_low,
        arms.rate - control.rate + sqrt(
            (arms.rate_high - arms.rate) * (arms.rate_high - arms.rate)
            + (control.rate - control.rate_low) * (control.rate - control.rate_low)
        ) as difference_high,
        {{ ratio('arms.converted + control.converted', 'arms.people + control.people') }} as pooled_rate,
        {{ ratio('1', 'arms.people') }} + {{ ratio('1', 'control.people') }} as inverse_people,
        arms.revenue_per_person_cents - control.revenue_per_person_cents as revenue_difference_cents,
        {{ z_95() }} * sqrt(arms.revenue_error_squared + control.revenue_error_squared) as revenue_half_width
    from limited as arms
    left join limited as control
        on control.tenant_id = arms.tenant_id
        and control.campaign_id = arms.campaign_id
        and control.arm = 'held_out'
        and arms.arm = 'treated'
)
select
    tenant_id,
    campaign_id,
    arm,
    people,
    converted,
    rate,
    rate_low,
    rate_high,
    revenue_cents,
    revenue_per_person_cents,
    difference,
    difference_low,
    difference_high,
    difference / nullif(sqrt(pooled_rate * (1 - pooled_rate) * inverse_people), 0) as z_score,
    difference_low > 0 or difference_high < 0 as is_significant,
    revenue_difference_cents,
    revenue_difference_cents - revenue_half_width as revenue_difference_low_cents,
    revenue_difference_cents + revenue_half_width as revenue_difference_high_cents
from compared
