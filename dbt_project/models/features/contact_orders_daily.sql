{{ incremental_by_contact_and_day() }}
{{ rolling_features(
    branches=[
        {'from': ref('stg_operational__orders'), 'at': 'ordered_at', 'known': 'known_at',
            'values': {'orders': 1, 'order_cents': 'total_cents'}},
    ],
    sums=[
        {'name': 'orders_30d', 'measure': 'orders', 'days': 30},
        {'name': 'orders_90d', 'measure': 'orders', 'days': 90},
        {'name': 'orders_total', 'measure': 'orders', 'days': 0},
        {'name': 'revenue_cents_30d', 'measure': 'order_cents', 'days': 30},
        {'name': 'revenue_cents_90d', 'measure': 'order_cents', 'days': 90},
        {'name': 'revenue_cents_total', 'measure': 'order_cents', 'days': 0},
    ],
    lasts=[{'name': 'last_order_at', 'measure': 'orders'}]
) }}
select
    tenant_id,
    contact_id,
    event_timestamp,
    created_timestamp,
    orders_30d,
    orders_90d,
    orders_total,
    revenue_cents_30d,
    revenue_cents_90d,
    cast(revenue_cents_total as double precision) / nullif(orders_total, 0) as order_value_cents_mean,
    last_order_at
from snapshots
