"""Every feature view. The order is that of the catalogue and of the packed online row."""

from feature_store.feature_view import Feature, FeatureView
from feature_store.feature_views.contact_campaign_daily import contact_campaign_daily
from feature_store.feature_views.contact_messaging_daily import contact_messaging_daily
from feature_store.feature_views.contact_orders_daily import contact_orders_daily
from feature_store.feature_views.contact_profile import contact_profile
from feature_store.feature_views.contact_replies_daily import contact_replies_daily
from feature_store.feature_views.contact_timing_daily import contact_timing_daily

FEATURE_VIEWS: tuple[FeatureView, ...] = (
    contact_messaging_daily,
    contact_replies_daily,
    contact_orders_daily,
    contact_campaign_daily,
    contact_timing_daily,
    contact_profile,
)
FEATURES: dict[str, Feature] = {feature.name: feature for view in FEATURE_VIEWS for feature in view.features}
NUMBERS: tuple[str, ...] = tuple(feature.name for feature in FEATURES.values() if feature.dtype == "float32")
MOMENTS: tuple[str, ...] = tuple(feature.name for feature in FEATURES.values() if feature.dtype == "timestamp")

__all__ = [
    "FEATURES",
    "FEATURE_VIEWS",
    "MOMENTS",
    "NUMBERS",
    "contact_campaign_daily",
    "contact_messaging_daily",
    "contact_orders_daily",
    "contact_profile",
    "contact_replies_daily",
    "contact_timing_daily",
]
