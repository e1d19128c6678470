-- Each version of a contact's own facts. The first holds since the contact was known; a later one since it was written.
with versions as (
    select
        cast(tenant_id as varchar) as tenant_id,
        cast(id as varchar) as contact_id,
        known_at,
        updated_at,
        custom_data as contact_attributes,
        row_number() over (partition by tenant_id, id order by changed_xid, _ingested_at) as version
    from {{ source('operational', 'contacts') }}
),
timed as (
    select
        tenant_id,
        contact_id,
        case when version = 1 then known_at else updated_at end as event_timestamp,
        known_at as first_known_at,
        contact_attributes,
        version
    from versions
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
