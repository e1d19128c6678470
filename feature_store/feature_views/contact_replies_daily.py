from feature_store.feature_view import Feature, FeatureView
from feature_store.sources import CONTACT_REPLIES_DAILY

contact_replies_daily = FeatureView(
    name="contact_replies_daily",
    description="What a contact wrote to us, as known at midnight UTC.",
    source=CONTACT_REPLIES_DAILY,
    features=(
        Feature("inbound_7d", "Inbound messages of the last 7 days.", "messages"),
        Feature("inbound_30d", "Inbound messages of the last 30 days.", "messages"),
        Feature("inbound_90d", "Inbound messages of the last 90 days.", "messages"),
        Feature("replies_30d", "Inbound messages of the last 30 days that answer one of ours.", "messages"),
        Feature("replies_90d", "Inbound messages of the last 90 days that answer one of ours.", "messages"),
        Feature("reply_length_mean_90d", "Mean length of the last 90 days' replies that hold text.", "characters"),
        Feature("last_inbound_at", "The newest inbound message.", "UTC timestamp", "moment"),
    ),
)
