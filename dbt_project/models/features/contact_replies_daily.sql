{{ incremental_by_contact_and_day() }}
{{ rolling_features(
    branches=[
        {'from': ref('int_messaging__messages'), 'where': "direction = 'inbound'", 'at': 'sent_at', 'known': 'known_at',
            'values': {'inbound': 1}},
        {'from': ref('stg_operational__replies'), 'at': 'replied_at', 'known': 'known_at', 'values': {
            'reply': 1,
            'reply_with_text': 'case when text_length is null then 0 else 1 end',
            'reply_length': 'coalesce(text_length, 0)',
        }},
    ],
    sums=[
        {'name': 'inbound_7d', 'measure': 'inbound', 'days': 7},
        {'name': 'inbound_30d', 'measure': 'inbound', 'days': 30},
        {'name': 'inbound_90d', 'measure': 'inbound', 'days': 90},
        {'name': 'inbound_total', 'measure': 'inbound', 'days': 0},
        {'name': 'replies_30d', 'measure': 'reply', 'days': 30},
        {'name': 'replies_90d', 'measure': 'reply', 'days': 90},
        {'name': 'replies_total', 'measure': 'reply', 'days': 0},
        {'name': 'replies_with_text_90d', 'measure': 'reply_with_text', 'days': 90},
        {'name': 'reply_length_90d', 'measure': 'reply_length', 'days': 90},
    ],
    lasts=[{'name': 'last_inbound_at', 'measure': 'inbound'}]
) }}
select
    tenant_id,
    contact_id,
    event_timestamp,
    created_timestamp,
    inbound_7d,
    inbound_30d,
    inbound_90d,
    inbound_total,
    replies_30d,
    replies_90d,
    replies_total,
    cast(reply_length_90d as double precision) / nullif(replies_with_text_90d, 0) as reply_length_mean_90d,
    last_inbound_at
from snapshots
