{{ incremental_by_contact() }}
with signs as (
    select tenant_id, contact_id, sent_at as occurred_at
    from {{ ref('fct_messages') }} as messages
    where direction = 'inbound' and {{ contact_is_rebuilt('messages') }}
    union all
    select tenant_id, contact_id, read_at
    from {{ ref('fct_messages') }} as messages
    where direction = 'outbound' and read_at is not null and {{ contact_is_rebuilt('messages') }}
    union all
    select tenant_id, contact_id, ordered_at
    from {{ ref('fct_orders') }} as orders
    where {{ contact_is_rebuilt('orders') }}
)
select tenant_id, contact_id, {{ utc_date('occurred_at') }} as activity_date, count(*) as sign_count
from signs
group by tenant_id, contact_id, {{ utc_date('occurred_at') }}
