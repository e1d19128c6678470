select
    tenant_id,
    campaign_id,
    name,
    type,
    status,
    attributes,
    conversion_event,
    attribution_seconds,
    holdout_rate,
    started_at,
    ended_at,
    external_id
from {{ ref('stg_operational__campaigns') }}
