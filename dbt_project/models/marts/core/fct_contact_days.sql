with signs as (
    select tenant_id, contact_id, sent_at as occurred_at from {{ ref('fct_messages') }} where direction = 'inbound'
    union all
    select tenant_id, contact_id, read_at from {{ ref('fct_messages') }} where read_at is not null and direction = 'outbound'
    union all
    select tenant_id, contact_id, ordered_at from {{ ref('fct_orders') }}
)
select tenant_id, contact_id, cast({{ midnight(day_index('occurred_at')) }} as date) as activity_date, count(*) as sign_count
from signs
group by tenant_id, contact_id, cast({{ midnight(day_index('occurred_at')) }} as date)
