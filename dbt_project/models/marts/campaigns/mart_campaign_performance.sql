with counted as (
    select
        tenant_id,
        campaign_id,
        cast(sum(case when assignment in ('treated', 'held_out') then 1 else 0 end) as bigint) as eligible,
        cast(sum(case when assignment = 'held_out' then 1 else 0 end) as bigint) as held_out,
        cast(sum(case when is_suppressed then 1 else 0 end) as bigint) as suppressed,
        cast(sum(case when assignment = 'treated' then 1 else 0 end) as bigint) as treated,
        cast(sum(sent) as bigint) as sent,
        cast(sum(delivered) as bigint) as delivered,
        cast(sum(read) as bigint) as read,
        cast(sum(replied) as bigint) as replied,
        cast(sum(opted_out) as bigint) as opted_out,
        cast(sum(converted) as bigint) as converted,
        cast(sum(failed) as bigint) as failed,
        cast(sum(attributed_revenue_cents) as bigint) as attributed_revenue_cents,
        cast(sum(case when assignment = 'treated' and orders_in_window > 0 then 1 else 0 end) as bigint) as treated_ordered,
        cast(sum(case when assignment = 'held_out' and orders_in_window > 0 then 1 else 0 end) as bigint)
            as held_out_ordered,
        cast(sum(case when assignment = 'treated' then revenue_in_window_cents else 0 end) as bigint)
            as treated_revenue_cents,
        cast(sum(case when assignment = 'held_out' then revenue_in_window_cents else 0 end) as bigint)
            as held_out_revenue_cents,
        min(first_sent_at) as first_sent_at,
        max(last_sent_at) as last_sent_at
    from {{ ref('fct_campaign_contacts') }}
    group by tenant_id, campaign_id
),
currencies as (
    select
        tenant_id,
        attributed_campaign_id as campaign_id,
        case when count(distinct currency) = 1 then min(currency) end as currency,
        count(distinct currency) as currency_count
    from {{ ref('fct_orders') }}
    where attributed_campaign_id is not null and status <> 'cancelled'
    group by tenant_id, attributed_campaign_id
),
known as (
    select
        campaigns.tenant_id,
        campaigns.campaign_id,
        campaigns.name,
        campaigns.type,
        campaigns.status,
        tenants.timezone,
        coalesce(counted.eligible, 0) as eligible,
        coalesce(counted.held_out, 0) as held_out,
        coalesce(counted.suppressed, 0) as suppressed,
        coalesce(counted.treated, 0) as treated,
        coalesce(counted.sent, 0) as sent,
        coalesce(counted.delivered, 0) as delivered,
        coalesce(counted.read, 0) as read,
        coalesce(counted.replied, 0) as replied,
        coalesce(counted.opted_out, 0) as opted_out,
        coalesce(counted.converted, 0) as converted,
        coalesce(counted.failed, 0) as failed,
        coalesce(counted.treated_ordered, 0) as treated_ordered,
        coalesce(counted.held_out_ordered, 0) as held_out_ordered,
        coalesce(counted.treated_revenue_cents, 0) as treated_revenue_cents,
        coalesce(counted.held_out_revenue_cents, 0) as held_out_revenue_cents,
        coalesce(counted.attributed_revenue_cents, 0) as attributed_revenue_cents,
        counted.first_sent_at,
        counted.last_sent_at,
        currencies.currency,
        coalesce(currencies.currency_count, 0) as currency_count,
        {{ cost_cents('coalesce(counted.sent, 0)', 'tenants.message_cost_cents') }} as cost_cents
    from {{ ref('dim_campaigns') }} as campaigns
    inner join {{ ref('dim_tenants') }} as tenants on tenants.tenant_id = campaigns.tenant_id
    left join counted on counted.tenant_id = campaigns.tenant_id and counted.campaign_id = campaigns.campaign_id
    left join currencies on currencies.tenant_id = campaigns.tenant_id and currencies.campaign_id = campaigns.campaign_id
)
select
    tenant_id,
    campaign_id,
    name,
    type,
    status,
    eligible,
    held_out,
    suppressed,
    treated,
    sent,
    delivered,
    read,
    replied,
    opted_out,
    converted,
    failed,
    treated_ordered,
    held_out_ordered,
    treated_revenue_cents,
    held_out_revenue_cents,
    attributed_revenue_cents,
    -- What treated people ordered beyond what as many of the control group did.
    case when held_out > 0 then
        treated_revenue_cents
        - cast(floor(cast(held_out_revenue_cents as double precision) * treated / held_out) as bigint)
    end as incremental_revenue_cents,
    currency,
    cost_cents,
    {{ delivery_rate() }} as delivery_rate,
    {{ read_rate() }} as read_rate,
    {{ response_rate() }} as response_rate,
    {{ conversion_rate() }} as conversion_rate,
    -- Cents of several currencies have no sum to set against a cost.
    case when currency_count <= 1 then {{ roi('attributed_revenue_cents', 'cost_cents') }} end as roi,
    first_sent_at,
    last_sent_at,
    cast({{ local_time('first_sent_at', 'timezone') }} as date) as first_sent_date,
    cast({{ local_time('last_sent_at', 'timezone') }} as date) as last_sent_date
from known
