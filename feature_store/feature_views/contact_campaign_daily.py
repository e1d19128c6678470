from feature_store.feature_view import Feature, FeatureView
from feature_store.sources import CONTACT_CAMPAIGN_DAILY

contact_campaign_daily = FeatureView(
    name="contact_campaign_daily",
    description="How a contact answered campaigns, as known at midnight UTC.",
    source=CONTACT_CAMPAIGN_DAILY,
    features=(
        Feature("campaign_sent_30d", "Campaign messages of the last 30 days.", "messages"),
        Feature("campaign_sent_90d", "Campaign messages of the last 90 days.", "messages"),
        Feature("campaign_read_90d", "Campaign messages read in the last 90 days.", "messages"),
        Feature("campaign_read_rate_90d", "Share of the last 90 days' campaign messages that was read by now.", "rate"),
        Feature("campaign_converted_90d", "Campaign messages that converted in the last 90 days.", "messages"),
        Feature(
            "campaign_conversion_rate_90d", "Share of the last 90 days' campaign messages converted by now.", "rate"
        ),
        Feature("campaigns_total", "Campaign messages ever.", "messages"),
        Feature("campaign_converted_total", "Campaign messages that ever converted.", "messages"),
    ),
)
