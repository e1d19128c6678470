select tenant_id, reply_id, message_id, contact_id, in_reply_to_id, campaign_id, replied_at, classification, known_at
from {{ ref('stg_operational__replies') }}
