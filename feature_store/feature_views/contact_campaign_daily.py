from feature_store.feature_view import Feature, FeatureView
from feature_store.sources import CONTACT_CAMPAIGN_DAILY

# What a missing value means unless the feature says more.
UNKNOWN = "We know of no campaign message to the contact, or nothing changed for a year."

contact_campaign_daily = FeatureView(
    name="contact_campaign_daily",
    description="How a contact answered campaigns, as known at midnight UTC.",
    source=CONTACT_CAMPAIGN_DAILY,
    features=(
        Feature("campaign_sent_30d", "Campaign messages of the last 30 days.", "messages", "30 days", UNKNOWN),
        Feature("campaign_sent_90d", "Campaign messages of the last 90 days.", "messages", "90 days", UNKNOWN),
        Feature("campaign_read_90d", "Campaign messages read in the last 90 days.", "messages", "90 days", UNKNOWN),
        Feature(
            "campaign_read_rate_90d",
            "Share of the last 90 days' campaign messages that was read by now.",
            "rate",
            "90 days",
            "No campaign message was sent in the window.",
        ),
        Feature(
            "campaign_converted_90d",
            "Campaign messages that converted in the last 90 days.",
            "messages",
            "90 days",
            UNKNOWN,
        ),
        Feature(
            "campaign_conversion_rate_90d",
            "Share of the last 90 days' campaign messages converted by now.",
            "rate",
            "90 days",
            "No campaign message was sent in the window.",
        ),
        Feature("campaigns_total", "Campaign messages ever.", "messages", "ever", UNKNOWN),
        Feature("campaign_read_total", "Campaign messages ever read.", "messages", "ever", UNKNOWN),
        Feature("campaign_replied_total", "Campaign messages that were ever replied to.", "messages", "ever", UNKNOWN),
        Feature("campaign_converted_total", "Campaign messages that ever converted.", "messages", "ever", UNKNOWN),
    ),
)
