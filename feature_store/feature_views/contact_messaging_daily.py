from feature_store.feature_view import Feature, FeatureView
from feature_store.sources import CONTACT_MESSAGING_DAILY

contact_messaging_daily = FeatureView(
    name="contact_messaging_daily",
    description="What was sent to a contact and what became of it, as known at midnight UTC.",
    source=CONTACT_MESSAGING_DAILY,
    features=(
        Feature("sent_7d", "Outbound messages of the last 7 days.", "messages"),
        Feature("sent_30d", "Outbound messages of the last 30 days.", "messages"),
        Feature("sent_90d", "Outbound messages of the last 90 days.", "messages"),
        Feature("delivered_30d", "Deliveries of the last 30 days.", "messages"),
        Feature("read_7d", "Messages read in the last 7 days.", "messages"),
        Feature("read_30d", "Messages read in the last 30 days.", "messages"),
        Feature("read_90d", "Messages read in the last 90 days.", "messages"),
        Feature("read_rate_30d", "Share of the last 30 days' messages that was read by now.", "rate"),
        Feature("read_rate_90d", "Share of the last 90 days' messages that was read by now.", "rate"),
        Feature("sent_total", "Outbound messages ever.", "messages"),
        Feature("read_total", "Messages ever read.", "messages"),
        Feature("read_delay_seconds_mean_90d", "Mean time from send to read, of the last 90 days' reads.", "seconds"),
        Feature("last_sent_at", "The newest outbound message.", "UTC timestamp", "moment"),
        Feature("last_read_at", "The newest read.", "UTC timestamp", "moment"),
    ),
)
