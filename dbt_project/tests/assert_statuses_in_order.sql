-- Sent, then delivered, then read, but for clocks that differ by up to five minutes.
select tenant_id, message_id
from {{ ref('fct_messages') }} as messages
where (
        delivered_at < {{ seconds_after('sent_at', -300) }}
        or read_at < {{ seconds_after('sent_at', -300) }}
        or read_at < {{ seconds_after('delivered_at', -300) }}
    )
    and {{ contact_is_rebuilt('messages', model='fct_messages') }}
