from feature_store.feature_view import Feature, FeatureView
from feature_store.sources import CONTACT_ORDERS_DAILY

# What a missing value means unless the feature says more.
UNKNOWN = "We know of no order of the contact, or nothing changed for a year."

contact_orders_daily = FeatureView(
    name="contact_orders_daily",
    description="What a contact ordered, cancelled or not, as known at midnight UTC.",
    source=CONTACT_ORDERS_DAILY,
    features=(
        Feature("orders_30d", "Orders of the last 30 days.", "orders", "30 days", UNKNOWN),
        Feature("orders_90d", "Orders of the last 90 days.", "orders", "90 days", UNKNOWN),
        Feature("orders_total", "Orders ever.", "orders", "ever", UNKNOWN),
        Feature("revenue_cents_30d", "Value of the last 30 days' orders.", "cents", "30 days", UNKNOWN),
        Feature("revenue_cents_90d", "Value of the last 90 days' orders.", "cents", "90 days", UNKNOWN),
        Feature(
            "order_value_cents_mean",
            "Mean value of an order, over all orders.",
            "cents",
            "ever",
            "The contact never ordered.",
        ),
        Feature(
            "last_order_at", "The newest order.", "UTC timestamp", "ever", "The contact never ordered.", "timestamp"
        ),
    ),
)
