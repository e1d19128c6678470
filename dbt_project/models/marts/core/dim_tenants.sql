select tenant_id, slug, timezone from {{ ref('stg_operational__tenants') }}
