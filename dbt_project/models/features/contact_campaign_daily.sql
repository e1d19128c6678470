{{ incremental_by_contact_and_day() }}
{{ rolling_features(
    branches=[
        {'from': ref('int_messaging__sends_settled'), 'at': 'sent_at', 'known': 'known_at', 'values': {'campaign_sent': 1}},
        {'from': ref('int_messaging__sends_settled'), 'at': 'read_at', 'known': 'read_known_at',
            'values': {'campaign_read': 1}},
        {'from': ref('int_messaging__sends_settled'), 'at': 'read_at', 'known': 'read_known_at', 'anchor': 'sent_at',
            'values': {'campaign_sent_and_read': 1}},
        {'from': ref('int_messaging__sends_settled'), 'at': 'replied_at', 'known': 'replied_known_at',
            'values': {'campaign_replied': 1}},
        {'from': ref('int_messaging__sends_settled'), 'at': 'first_seen_conversion_at',
            'known': 'first_seen_conversion_known_at', 'values': {'campaign_converted': 1}},
        {'from': ref('int_messaging__sends_settled'), 'at': 'first_seen_conversion_at',
            'known': 'first_seen_conversion_known_at', 'anchor': 'sent_at', 'values': {'campaign_sent_and_converted': 1}},
    ],
    sums=[
        {'name': 'campaign_sent_30d', 'measure': 'campaign_sent', 'days': 30},
        {'name': 'campaign_sent_90d', 'measure': 'campaign_sent', 'days': 90},
        {'name': 'campaign_read_90d', 'measure': 'campaign_read', 'days': 90},
        {'name': 'campaign_sent_and_read_90d', 'measure': 'campaign_sent_and_read', 'days': 90},
        {'name': 'campaign_converted_90d', 'measure': 'campaign_converted', 'days': 90},
        {'name': 'campaign_sent_and_converted_90d', 'measure': 'campaign_sent_and_converted', 'days': 90},
        {'name': 'campaigns_total', 'measure': 'campaign_sent', 'days': 0},
        {'name': 'campaign_read_total', 'measure': 'campaign_read', 'days': 0},
        {'name': 'campaign_replied_total', 'measure': 'campaign_replied', 'days': 0},
        {'name': 'campaign_converted_total', 'measure': 'campaign_converted', 'days': 0},
    ]
) }}
select
    tenant_id,
    contact_id,
    event_timestamp,
    created_timestamp,
    campaign_sent_30d,
    campaign_sent_90d,
    campaign_read_90d,
    cast(campaign_sent_and_read_90d as double precision) / nullif(campaign_sent_90d, 0) as campaign_read_rate_90d,
    campaign_converted_90d,
    cast(campaign_sent_and_converted_90d as double precision) / nullif(campaign_sent_90d, 0)
        as campaign_conversion_rate_90d,
    campaigns_total,
    campaign_read_total,
    campaign_replied_total,
    campaign_converted_total
from snapshots
