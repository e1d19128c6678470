from feature_store.feature_view import Feature, FeatureView
from feature_store.sources import CONTACT_TIMING_DAILY

# What a missing value means unless the feature says more.
UNKNOWN = "We know of no read and no inbound message of the contact, or nothing changed for a year."

contact_timing_daily = FeatureView(
    name="contact_timing_daily",
    description="When a contact reads and writes, by the tenant's local clock, as known at midnight UTC.",
    source=CONTACT_TIMING_DAILY,
    features=(
        Feature(
            "active_morning_90d",
            "Reads and inbound messages between 6 and 12 of the last 90 days.",
            "signs",
            "90 days",
            UNKNOWN,
        ),
        Feature(
            "active_afternoon_90d",
            "Reads and inbound messages between 12 and 18 of the last 90 days.",
            "signs",
            "90 days",
            UNKNOWN,
        ),
        Feature(
            "active_evening_90d",
            "Reads and inbound messages between 18 and 24 of the last 90 days.",
            "signs",
            "90 days",
            UNKNOWN,
        ),
        Feature(
            "active_night_90d",
            "Reads and inbound messages between 0 and 6 of the last 90 days.",
            "signs",
            "90 days",
            UNKNOWN,
        ),
        Feature(
            "active_weekend_90d",
            "Reads and inbound messages on Saturday or Sunday of the last 90 days.",
            "signs",
            "90 days",
            UNKNOWN,
        ),
    ),
)
