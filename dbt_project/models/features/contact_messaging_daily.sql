{{ incremental_by_contact_and_day() }}
{%- set read_delay = 'case when read_at >= sent_at then ' ~ micros_between('sent_at', 'read_at') ~ ' else 0 end' -%}
{{ rolling_features(
    branches=[
        {'from': ref('int_messaging__messages'), 'where': "direction = 'outbound'", 'at': 'sent_at', 'known': 'known_at',
            'values': {'sent': 1}},
        {'from': ref('int_messaging__messages'), 'where': "direction = 'outbound'", 'at': 'delivered_at',
            'known': 'delivered_known_at', 'values': {'delivered': 1}},
        {'from': ref('int_messaging__messages'), 'where': "direction = 'outbound'", 'at': 'read_at',
            'known': 'read_known_at', 'values': {'read': 1, 'read_delay_micros': read_delay}},
        {'from': ref('int_messaging__messages'), 'where': "direction = 'outbound'", 'at': 'read_at',
            'known': 'read_known_at', 'anchor': 'sent_at', 'values': {'sent_and_read': 1}},
    ],
    sums=[
        {'name': 'sent_7d', 'measure': 'sent', 'days': 7},
        {'name': 'sent_30d', 'measure': 'sent', 'days': 30},
        {'name': 'sent_90d', 'measure': 'sent', 'days': 90},
        {'name': 'delivered_30d', 'measure': 'delivered', 'days': 30},
        {'name': 'read_7d', 'measure': 'read', 'days': 7},
        {'name': 'read_30d', 'measure': 'read', 'days': 30},
        {'name': 'read_90d', 'measure': 'read', 'days': 90},
        {'name': 'sent_and_read_30d', 'measure': 'sent_and_read', 'days': 30},
        {'name': 'sent_and_read_90d', 'measure': 'sent_and_read', 'days': 90},
        {'name': 'sent_total', 'measure': 'sent', 'days': 0},
        {'name': 'read_total', 'measure': 'read', 'days': 0},
        {'name': 'read_delay_micros_90d', 'measure': 'read_delay_micros', 'days': 90},
    ],
    lasts=[{'name': 'last_sent_at', 'measure': 'sent'}, {'name': 'last_read_at', 'measure': 'read'}]
) }}
select
    tenant_id,
    contact_id,
    event_timestamp,
    created_timestamp,
    sent_7d,
    sent_30d,
    sent_90d,
    delivered_30d,
    read_7d,
    read_30d,
    read_90d,
    cast(sent_and_read_30d as double precision) / nullif(sent_30d, 0) as read_rate_30d,
    cast(sent_and_read_90d as double precision) / nullif(sent_90d, 0) as read_rate_90d,
    sent_total,
    read_total,
    cast(read_delay_micros_90d as double precision) / nullif(read_90d * 1000000, 0) as read_delay_seconds_mean_90d,
    last_sent_at,
    last_read_at
from snapshots
