-- Nobody reads what was sent later.
select tenant_id, message_id
from {{ ref('fct_sends') }}
where read_at < sent_at - interval '5 minutes' or delivered_at < sent_at - interval '5 minutes'
