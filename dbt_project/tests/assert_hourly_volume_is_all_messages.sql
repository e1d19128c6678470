-- Every message lies in one hour.
with sides as (
    select tenant_id, sent, received from {{ ref('mart_message_volume_hourly') }}
    union all
    select
        tenant_id,
        -count(case when direction = 'outbound' then 1 end),
        -count(case when direction = 'inbound' then 1 end)
    from {{ ref('fct_messages') }}
    group by tenant_id
)
select tenant_id, sum(sent) as sent, sum(received) as received
from sides
group by tenant_id
having sum(sent) <> 0 or sum(received) <> 0
