{{ incremental_by_contact() }}
-- Each version of a contact's own facts. What arrived with the contact holds since the contact was known, and so does what
-- a replayed history declared; a fact written later holds since it was written, even when ingest first came after that.
with contacts as (
    select
        cast(tenant_id as text) as tenant_id,
        cast(id as text) as contact_id,
        known_at,
        created_at,
        updated_at,
        custom_data,
        _load_id as load_id
    from {{ source('operational', 'contacts') }}
),
versions as (
    select
        contacts.tenant_id,
        contacts.contact_id,
        contacts.known_at,
        contacts.updated_at,
        contacts.updated_at <= contacts.created_at
            or contacts.known_at <= coalesce(tenants.backfilled_until, {{ seconds_after('contacts.known_at', -1) }})
            as is_as_it_arrived,
        contacts.custom_data as contact_attributes,
        row_number() over (
            partition by contacts.tenant_id, contacts.contact_id order by contacts.load_id
        ) as version
    from contacts
    inner join {{ ref('stg_operational__tenants') }} as tenants on tenants.tenant_id = contacts.tenant_id
    where {{ contact_is_rebuilt('contacts') }}
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
