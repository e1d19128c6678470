from feature_store.feature_view import Feature, FeatureView
from feature_store.sources import CONTACT_ORDERS_DAILY

contact_orders_daily = FeatureView(
    name="contact_orders_daily",
    description="What a contact ordered, cancelled or not, as known at midnight UTC.",
    source=CONTACT_ORDERS_DAILY,
    features=(
        Feature("orders_30d", "Orders of the last 30 days.", "orders"),
        Feature("orders_90d", "Orders of the last 90 days.", "orders"),
        Feature("orders_total", "Orders ever.", "orders"),
        Feature("revenue_cents_30d", "Value of the last 30 days' orders.", "cents"),
        Feature("revenue_cents_90d", "Value of the last 90 days' orders.", "cents"),
        Feature("order_value_cents_mean", "Mean value of an order, over all orders.", "cents"),
        Feature("last_order_at", "The newest order.", "UTC timestamp", "moment"),
    ),
)
