-- Each version of a contact's own facts. What arrived with the contact holds since the contact was known, and so does what
-- a replayed history declared; a fact written later holds since it was written, even when ingest first came after that.
with versions as (
    select
        cast(contacts.tenant_id as varchar) as tenant_id,
        cast(contacts.id as varchar) as contact_id,
        contacts.known_at,
        contacts.updated_at,
        contacts.updated_at <= contacts.created_at
            or contacts.known_at <= coalesce(tenants.backfilled_until, contacts.known_at - interval '1 second')
            as is_as_it_arrived,
        contacts.custom_data as contact_attributes,
        row_number() over (
            partition by contacts.tenant_id, contacts.id order by contacts.changed_xid, contacts.created_timestamp
        ) as version
    from {{ source('operational', 'contacts') }} as contacts
    inner join {{ ref('stg_operational__tenants') }} as tenants
        on tenants.tenant_id = cast(contacts.tenant_id as varchar)
),
timed as (
    select
        tenant_id,
        contact_id,
        case when version = 1 and is_as_it_arrived then known_at else greatest(known_at, updated_at) end
            as event_timestamp,
        known_at as first_known_at,
        contact_attributes,
        version
    from versions
    union all
    select tenant_id, contact_id, known_at, known_at, '{}', 0
    from versions
    where version = 1 and not is_as_it_arrived
),
numbered as (
    select
        *,
        row_number() over (partition by tenant_id, contact_id, event_timestamp order by version desc) as rank_then
    from timed
)
select
    tenant_id,
    contact_id,
    event_timestamp,
    event_timestamp as created_timestamp,
    first_known_at,
    contact_attributes
from numbered
where rank_then = 1
