{{ incremental_by_contact() }}
-- A campaign as each of its people met it. What the gate refused later stays in the group chance gave it, sent to or
-- not, or treated and held out would no longer be alike.
with decisions as (
    select
        *,
        row_number() over (
            partition by tenant_id, campaign_id, contact_id order by decided_at desc, decision_id desc
        ) as recency
    from {{ ref('fct_decisions') }} as decisions
    where campaign_id is not null and {{ contact_is_rebuilt('decisions') }}
),
decided as (
    select
        tenant_id,
        campaign_id,
        contact_id,
        max(case when outcome = 'hold_out' then 1 else 0 end) as held_out,
        max(case when outcome = 'send' then 1 else 0 end) as to_send,
        max(case when outcome = 'suppress' then 1 else 0 end) as suppressed,
        max(assignment_probability) as assignment_probability,
        max(case when recency = 1 then outcome end) as outcome,
        max(case when recency = 1 then reason end) as reason,
        min(decided_at) as decided_at
    from decisions
    group by tenant_id, campaign_id, contact_id
),
ordered as (
    select
        decided.tenant_id,
        decided.campaign_id,
        decided.contact_id,
        count(*) as order_count,
        cast(sum(orders.total_cents) as bigint) as revenue_cents
    from decided
    inner join {{ ref('dim_campaigns') }} as campaigns
        on campaigns.tenant_id = decided.tenant_id and campaigns.campaign_id = decided.campaign_id
    inner join {{ ref('fct_orders') }} as orders
        on orders.tenant_id = decided.tenant_id
        and orders.contact_id = decided.contact_id
        and orders.ordered_at >= decided.decided_at
        and orders.ordered_at < {{ seconds_after('decided.decided_at', 'campaigns.attribution_seconds') }}
        and orders.status <> 'cancelled'
    where {{ contact_is_rebuilt('orders') }}
    group by decided.tenant_id, decided.campaign_id, decided.contact_id
),
sent as (
    select
        tenant_id,
        campaign_id,
        contact_id,
        count(*) as sent,
        count(coalesce(delivered_at, read_at)) as delivered,
        count(read_at) as read,
        count(replied_at) as replied,
        count(opted_out_at) as opted_out,
        count(converted_at) as converted,
        count(failed_at) as failed,
        cast(sum(coalesce(conversion_value_cents, 0)) as bigint) as attributed_revenue_cents,
        min(sent_at) as first_sent_at,
        max(sent_at) as last_sent_at,
        min(read_at) as first_read_at,
        min(replied_at) as first_replied_at,
        min(converted_at) as first_converted_at
    from {{ ref('fct_sends') }} as sends
    where {{ contact_is_rebuilt('sends') }}
    group by tenant_id, campaign_id, contact_id
)
select
    coalesce(decided.tenant_id, sent.tenant_id) as tenant_id,
    coalesce(decided.campaign_id, sent.campaign_id) as campaign_id,
    coalesce(decided.contact_id, sent.contact_id) as contact_id,
    case
        when decided.held_out = 1 then 'held_out'
        when decided.to_send = 1 then 'treated'
        when decided.suppressed = 1 then 'suppressed'
    end as assignment,
    decided.assignment_probability,
    decided.decided_at,
    decided.outcome,
    decided.reason,
    coalesce(decided.suppressed, 0) = 1 as is_suppressed,
    cast(coalesce(sent.sent, 0) as bigint) as sent,
    cast(coalesce(sent.delivered, 0) as bigint) as delivered,
    cast(coalesce(sent.read, 0) as bigint) as read,
    cast(coalesce(sent.replied, 0) as bigint) as replied,
    cast(coalesce(sent.opted_out, 0) as bigint) as opted_out,
    cast(coalesce(sent.converted, 0) as bigint) as converted,
    cast(coalesce(sent.failed, 0) as bigint) as failed,
    cast(coalesce(sent.attributed_revenue_cents, 0) as bigint) as attributed_revenue_cents,
    sent.first_sent_at,
    sent.last_sent_at,
    sent.first_read_at,
    sent.first_replied_at,
    sent.first_converted_at,
    cast(coalesce(ordered.order_count, 0) as bigint) as orders_in_window,
    cast(coalesce(ordered.revenue_cents, 0) as bigint) as revenue_in_window_cents
from decided
full outer join sent
    on sent.tenant_id = decided.tenant_id
    and sent.campaign_id = decided.campaign_id
    and sent.contact_id = decided.contact_id
left join ordered
    on ordered.tenant_id = decided.tenant_id
    and ordered.campaign_id = decided.campaign_id
    and ordered.contact_id = decided.contact_id
