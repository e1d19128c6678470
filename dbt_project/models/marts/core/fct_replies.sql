{{ incremental_by_contact() }}
select tenant_id, reply_id, message_id, contact_id, in_reply_to_id, campaign_id, text_length, replied_at, classification, known_at
from {{ ref('stg_operational__replies') }} as replies
where {{ contact_is_rebuilt('replies') }}
