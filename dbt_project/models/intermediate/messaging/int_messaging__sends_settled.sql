{{ incremental_by_contact() }}
-- Campaign sends with what came of each.
with replies as (
    select
        tenant_id,
        in_reply_to_id as message_id,
        min(replied_at) as replied_at,
        min(greatest(replied_at, known_at)) as replied_known_at
    from {{ ref('stg_operational__replies') }}
    where in_reply_to_id is not null and {{ contact_is_rebuilt() }}
    group by tenant_id, in_reply_to_id
),
-- A label may know that an order was cancelled since; a feature may not, nor of an earlier order that became known later.
ranked as (
    select
        *,
        row_number() over (
            partition by tenant_id, message_id, outcome = 'opt_out'
            order by greatest(occurred_at, attribution_known_at), occurred_at, outcome_id
        ) as visibility
    from {{ ref('int_messaging__outcomes_attributed') }}
    where {{ contact_is_rebuilt() }}
),
attributed as (
    select
        tenant_id,
        message_id,
        min(case when outcome <> 'opt_out' and is_kept then occurred_at end) as converted_at,
        cast(sum(case when outcome <> 'opt_out' and is_kept then value_cents end) as bigint) as conversion_value_cents,
        min(case when outcome = 'opt_out' then occurred_at end) as opted_out_at,
        min(case when outcome <> 'opt_out' and visibility = 1 then occurred_at end) as first_seen_conversion_at,
        min(case when outcome <> 'opt_out' and visibility = 1 then attribution_known_at end)
            as first_seen_conversion_known_at
    from ranked
    group by tenant_id, message_id
)
select
    messages.tenant_id,
    messages.message_id,
    messages.contact_id,
    messages.campaign_id,
    messages.sent_at,
    messages.known_at,
    messages.delivered_at,
    messages.read_at,
    messages.read_known_at,
    messages.failed_at,
    replies.replied_at,
    replies.replied_known_at,
    attributed.converted_at,
    attributed.conversion_value_cents,
    attributed.opted_out_at,
    attributed.first_seen_conversion_at,
    attributed.first_seen_conversion_known_at,
    {{ seconds_after('messages.sent_at', 'campaigns.attribution_seconds') }} as attribution_ends_at
from {{ ref('int_messaging__messages') }} as messages
inner join {{ ref('stg_operational__campaigns') }} as campaigns
    on campaigns.tenant_id = messages.tenant_id and campaigns.campaign_id = messages.campaign_id
left join replies on replies.tenant_id = messages.tenant_id and replies.message_id = messages.message_id
left join attributed on attributed.tenant_id = messages.tenant_id and attributed.message_id = messages.message_id
where messages.direction = 'outbound' and {{ contact_is_rebuilt('messages') }}
