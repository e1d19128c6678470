from feature_store.feature_view import Feature, FeatureView
from feature_store.sources import CONTACT_PROFILE

# What a missing value means unless the feature says more.
UNKNOWN = "We did not know the contact yet."

contact_profile = FeatureView(
    name="contact_profile",
    description="Who the contact is: each version of its attributes since we knew it.",
    source=CONTACT_PROFILE,
    ttl=None,  # a profile holds until the next version, however old it is
    features=(
        Feature(
            "first_known_at", "When the contact became known to us.", "UTC timestamp", "ever", UNKNOWN, "timestamp"
        ),
        Feature(
            "contact_attributes", "The tenant's own facts about the contact.", "JSON object", "latest", UNKNOWN, "json"
        ),
    ),
)
