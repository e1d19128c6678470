from feature_store.feature_view import Feature, FeatureView
from feature_store.sources import CONTACT_REPLIES_DAILY

# What a missing value means unless the feature says more.
UNKNOWN = "We know of nothing the contact wrote, or nothing changed for a year."

contact_replies_daily = FeatureView(
    name="contact_replies_daily",
    description="What a contact wrote to us, as known at midnight UTC.",
    source=CONTACT_REPLIES_DAILY,
    features=(
        Feature("inbound_7d", "Inbound messages of the last 7 days.", "messages", "7 days", UNKNOWN),
        Feature("inbound_30d", "Inbound messages of the last 30 days.", "messages", "30 days", UNKNOWN),
        Feature("inbound_90d", "Inbound messages of the last 90 days.", "messages", "90 days", UNKNOWN),
        Feature("inbound_total", "Inbound messages ever.", "messages", "ever", UNKNOWN),
        Feature(
            "replies_30d",
            "Inbound messages of the last 30 days that answer one of ours.",
            "messages",
            "30 days",
            UNKNOWN,
        ),
        Feature(
            "replies_90d",
            "Inbound messages of the last 90 days that answer one of ours.",
            "messages",
            "90 days",
            UNKNOWN,
        ),
        Feature("replies_total", "Inbound messages ever that answer one of ours.", "messages", "ever", UNKNOWN),
        Feature(
            "reply_length_mean_90d",
            "Mean length of the last 90 days' replies that hold text.",
            "characters",
            "90 days",
            "No reply with text came in the window.",
        ),
        Feature(
            "last_inbound_at",
            "The newest inbound message.",
            "UTC timestamp",
            "ever",
            "The contact never wrote.",
            "timestamp",
        ),
    ),
)
