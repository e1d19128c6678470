{{ incremental_by_contact_and_day() }}
{{ rolling_features(
    branches=[
        {'from': ref('int_contacts__signs'), 'at': 'occurred_at', 'known': 'known_at', 'values': {
            'active_night': 'case when local_hour < 6 then 1 else 0 end',
            'active_morning': 'case when local_hour >= 6 and local_hour < 12 then 1 else 0 end',
            'active_afternoon': 'case when local_hour >= 12 and local_hour < 18 then 1 else 0 end',
            'active_evening': 'case when local_hour >= 18 then 1 else 0 end',
            'active_weekend': 'case when local_weekday >= 6 then 1 else 0 end',
        }},
    ],
    sums=[
        {'name': 'active_morning_90d', 'measure': 'active_morning', 'days': 90},
        {'name': 'active_afternoon_90d', 'measure': 'active_afternoon', 'days': 90},
        {'name': 'active_evening_90d', 'measure': 'active_evening', 'days': 90},
        {'name': 'active_night_90d', 'measure': 'active_night', 'days': 90},
        {'name': 'active_weekend_90d', 'measure': 'active_weekend', 'days': 90},
    ]
) }}
select
    tenant_id,
    contact_id,
    event_timestamp,
    created_timestamp,
    active_morning_90d,
    active_afternoon_90d,
    active_evening_90d,
    active_night_90d,
    active_weekend_90d
from snapshots
