select tenant_id, contact_id, language, timezone, custom_data, priority, source, status, first_known_at
from {{ ref('stg_operational__contacts') }}
