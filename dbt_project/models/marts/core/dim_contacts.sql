{{ incremental_by_contact() }}
select tenant_id, contact_id, language, timezone, priority, source, status, first_known_at
from {{ ref('stg_operational__contacts') }} as contacts
where {{ contact_is_rebuilt('contacts') }}
