-- Nobody who opted out is messaged: no marketing accepted while the person's newest consent then was an opt-out.
with sent as (
    select tenant_id, outbound_message_id, contact_id, accepted_at
    from {{ ref('stg_operational__outbound_messages') }} as outbox
    where accepted_at is not null and purpose = 'marketing' and {{ contact_is_rebuilt('outbox', model='fct_sends') }}
),
history as (
    select
        sent.tenant_id,
        sent.outbound_message_id,
        events.status,
        row_number() over (
            partition by sent.tenant_id, sent.outbound_message_id order by events.occurred_at desc, events.consent_event_id
        ) as recency
    from sent
    inner join {{ ref('stg_operational__consent_events') }} as events
        on events.tenant_id = sent.tenant_id
        and events.contact_id = sent.contact_id
        and events.purpose = 'marketing'
        -- Heeded before the send started: a batch of the inbox may take a while, a send five seconds and its answer five more.
        and greatest(events.known_at, events.recorded_at) < {{ seconds_after('sent.accepted_at', -60) }}
)
select tenant_id, outbound_message_id from history where recency = 1 and status = 'opted_out'
