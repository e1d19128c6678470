{{ incremental_by_contact() }}
-- Reads and inbound messages by the clock of the contact's tenant, as at the moment of use: the two are compared.
with signs as (
    select tenant_id, contact_id, sent_at as occurred_at, known_at
    from {{ ref('int_messaging__messages') }}
    where direction = 'inbound' and {{ contact_is_rebuilt() }}
    union all
    select tenant_id, contact_id, read_at, read_known_at
    from {{ ref('int_messaging__messages') }}
    where direction = 'outbound' and read_at is not null and {{ contact_is_rebuilt() }}
)
select
    signs.tenant_id,
    signs.contact_id,
    signs.occurred_at,
    signs.known_at,
    {{ local_hour('signs.occurred_at', 'tenants.timezone') }} as local_hour,
    {{ local_weekday('signs.occurred_at', 'tenants.timezone') }} as local_weekday
from signs
inner join {{ ref('stg_operational__tenants') }} as tenants on tenants.tenant_id = signs.tenant_id
