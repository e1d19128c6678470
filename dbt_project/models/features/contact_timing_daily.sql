{{ rolling_features(
    ref('int_contacts__events_counted'),
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
