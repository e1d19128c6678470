{{ incremental_by_contact() }}
select
    tenant_id,
    message_id,
    contact_id,
    campaign_id,
    sent_at,
    delivered_at,
    read_at,
    failed_at,
    replied_at,
    converted_at,
    conversion_value_cents,
    opted_out_at,
    attribution_ends_at
from {{ ref('int_messaging__sends_settled') }} as sends
where {{ contact_is_rebuilt('sends') }}
