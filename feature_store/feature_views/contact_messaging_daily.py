from feature_store.feature_view import Feature, FeatureView
from feature_store.sources import CONTACT_MESSAGING_DAILY

# What a missing value means unless the feature says more.
UNKNOWN = "We know of nothing sent to the contact, or nothing changed for a year."

contact_messaging_daily = FeatureView(
    name="contact_messaging_daily",
    description="What was sent to a contact and what became of it, as known at midnight UTC.",
    source=CONTACT_MESSAGING_DAILY,
    features=(
        Feature("sent_7d", "Outbound messages of the last 7 days.", "messages", "7 days", UNKNOWN),
        Feature("sent_30d", "Outbound messages of the last 30 days.", "messages", "30 days", UNKNOWN),
        Feature("sent_90d", "Outbound messages of the last 90 days.", "messages", "90 days", UNKNOWN),
        Feature("delivered_30d", "Deliveries of the last 30 days.", "messages", "30 days", UNKNOWN),
        Feature("read_7d", "Messages read in the last 7 days.", "messages", "7 days", UNKNOWN),
        Feature("read_30d", "Messages read in the last 30 days.", "messages", "30 days", UNKNOWN),
        Feature("read_90d", "Messages read in the last 90 days.", "messages", "90 days", UNKNOWN),
        Feature(
            "read_rate_30d",
            "Share of the last 30 days' messages that was read by now.",
            "rate",
            "30 days",
            "Nothing was sent in the window.",
        ),
        Feature(
            "read_rate_90d",
            "Share of the last 90 days' messages that was read by now.",
            "rate",
            "90 days",
            "Nothing was sent in the window.",
        ),
        Feature("sent_total", "Outbound messages ever.", "messages", "ever", UNKNOWN),
        Feature("read_total", "Messages ever read.", "messages", "ever", UNKNOWN),
        Feature(
            "read_delay_seconds_mean_90d",
            "Mean time from send to read, of the last 90 days' reads.",
            "seconds",
            "90 days",
            "Nothing was read in the window.",
        ),
        Feature(
            "last_sent_at",
            "The newest outbound message.",
            "UTC timestamp",
            "ever",
            "Nothing was ever sent.",
            "timestamp",
        ),
        Feature("last_read_at", "The newest read.", "UTC timestamp", "ever", "Nothing was ever read.", "timestamp"),
    ),
)
