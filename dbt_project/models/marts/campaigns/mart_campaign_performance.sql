-- Orders are counted for everyone by the group chance gave them, sent to or not, within the campaign's window from the
-- decision on: what the gate refused later stays in its group, or the groups would no longer be alike.
with assigned as (
    select
        tenant_id,
        campaign_id,
        contact_id,
        max(case when outcome = 'hold_out' then 1 else 0 end) as is_held_out,
        max(case when outcome = 'suppress' then 1 else 0 end) as is_suppressed,
        max(case when outcome = 'send' then 1 else 0 end) as is_treated,
        min(decided_at) as decided_at
    from {{ ref('fct_decisions') }}
    where campaign_id is not null
    group by tenant_id, campaign_id, contact_id
),
ordered as (
    select
        assigned.tenant_id,
        assigned.campaign_id,
        assigned.contact_id,
        count(*) as order_count,
        cast(sum(orders.total_cents) as bigint) as revenue_cents
    from assigned
    inner join {{ ref('dim_campaigns') }} as campaigns
        on campaigns.tenant_id = assigned.tenant_id and campaigns.campaign_id = assigned.campaign_id
    inner join {{ ref('fct_orders') }} as orders
        on orders.tenant_id = assigned.tenant_id
        and orders.contact_id = assigned.contact_id
        and orders.ordered_at >= assigned.decided_at
        and orders.ordered_at < assigned.decided_at + campaigns.attribution_seconds * interval '1 second'
        and orders.status <> 'cancelled'
    group by assigned.tenant_id, assigned.campaign_id, assigned.contact_id
),
people as (
    select
        assigned.tenant_id,
        assigned.campaign_id,
        sum(assigned.is_held_out) as held_out,
        sum(assigned.is_suppressed) as suppressed,
        sum(assigned.is_treated) as treated,
        sum(case when assigned.is_treated = 1 and ordered.order_count > 0 then 1 else 0 end) as treated_ordered,
        sum(case when assigned.is_held_out = 1 and ordered.order_count > 0 then 1 else 0 end) as held_out_ordered,
        sum(case when assigned.is_treated = 1 then coalesce(ordered.revenue_cents, 0) else 0 end) as treated_revenue_cents,
        sum(case when assigned.is_held_out = 1 then coalesce(ordered.revenue_cents, 0) else 0 end) as held_out_revenue_cents
    from assigned
    left join ordered
        on ordered.tenant_id = assigned.tenant_id
        and ordered.campaign_id = assigned.campaign_id
        and ordered.contact_id = assigned.contact_id
    group by assigned.tenant_id, assigned.campaign_id
),
sends as (
    select
        tenant_id,
        campaign_id,
        count(*) as sent,
        count(delivered_at) as delivered,
        count(read_at) as read,
        count(replied_at) as replied,
        count(opted_out_at) as opted_out,
        count(converted_at) as converted,
        count(failed_at) as failed
    from {{ ref('fct_sends') }}
    group by tenant_id, campaign_id
)
select
    campaigns.tenant_id,
    campaigns.campaign_id,
    campaigns.name,
    cast(coalesce(people.treated, 0) + coalesce(people.held_out, 0) as bigint) as eligible,
    cast(coalesce(people.held_out, 0) as bigint) as held_out,
    cast(coalesce(people.suppressed, 0) as bigint) as suppressed,
    cast(coalesce(people.treated, 0) as bigint) as treated,
    cast(coalesce(sends.sent, 0) as bigint) as sent,
    cast(coalesce(sends.delivered, 0) as bigint) as delivered,
    cast(coalesce(sends.read, 0) as bigint) as read,
    cast(coalesce(sends.replied, 0) as bigint) as replied,
    cast(coalesce(sends.opted_out, 0) as bigint) as opted_out,
    cast(coalesce(sends.converted, 0) as bigint) as converted,
    cast(coalesce(sends.failed, 0) as bigint) as failed,
    cast(coalesce(people.treated_ordered, 0) as bigint) as treated_ordered,
    cast(coalesce(people.held_out_ordered, 0) as bigint) as held_out_ordered,
    cast(coalesce(people.treated_revenue_cents, 0) as bigint) as treated_revenue_cents,
    cast(coalesce(people.held_out_revenue_cents, 0) as bigint) as held_out_revenue_cents
from {{ ref('dim_campaigns') }} as campaigns
left join people on people.tenant_id = campaigns.tenant_id and people.campaign_id = campaigns.campaign_id
left join sends on sends.tenant_id = campaigns.tenant_id and sends.campaign_id = campaigns.campaign_id
