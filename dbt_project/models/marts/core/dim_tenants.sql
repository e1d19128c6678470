select tenant_id, slug, timezone, message_cost_cents from {{ ref('stg_operational__tenants') }}
