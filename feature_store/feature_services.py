"""The input list of each model. A changed list is a new version: a trained model keeps the list it was trained on."""

from __future__ import annotations

from dataclasses import dataclass

from feature_store.feature_view import Selection
from feature_store.feature_views import FEATURE_VIEWS
from feature_store.on_demand import ON_DEMAND


@dataclass(frozen=True)
class FeatureService:
    """`features` are stored numbers, `on_demand` is made at the moment of use; the contact's typed attributes are
    always offered, the campaign's only where the model is asked about one."""

    name: str
    features: tuple[str, ...]
    on_demand: tuple[str, ...] = ()
    campaign_attributes: bool = True

    def stored(self) -> frozenset[str]:
        """Every stored feature the service reads: its own and what its on-demand features are made of."""
        needs = {name for on_demand in self.on_demand for name in ON_DEMAND[on_demand].needs}
        return frozenset(self.features) | needs | {"contact_attributes"}

    def views(self) -> Selection:
        """Each view the service reads, with the columns it takes from it."""
        wanted = self.stored()
        parts = ((view, tuple(f.name for f in view.features if f.name in wanted)) for view in FEATURE_VIEWS)
        return tuple((view, names) for view, names in parts if names)


MESSAGING = (
    "sent_7d", "sent_30d", "sent_90d", "delivered_30d", "read_7d", "read_30d", "read_90d", "read_rate_30d",
    "read_rate_90d", "sent_total", "read_total", "read_delay_seconds_mean_90d",
)  # fmt: skip
REPLIES = ("inbound_7d", "inbound_30d", "inbound_90d", "replies_30d", "replies_90d", "reply_length_mean_90d")
ORDERS = (
    "orders_30d", "orders_90d", "orders_total", "revenue_cents_30d", "revenue_cents_90d", "order_value_cents_mean",
)  # fmt: skip
CAMPAIGN = (
    "campaign_sent_30d", "campaign_sent_90d", "campaign_read_90d", "campaign_read_rate_90d", "campaign_converted_90d",
    "campaign_conversion_rate_90d", "campaigns_total", "campaign_converted_total",
)  # fmt: skip
TIMING = (
    "active_morning_90d", "active_afternoon_90d", "active_evening_90d", "active_night_90d", "active_weekend_90d",
)  # fmt: skip
RECENCY = ("days_since_last_sent", "days_since_last_read", "days_since_last_inbound", "days_since_last_order")
HABITS = ("campaign_read_rate", "campaign_reply_rate", "unprompted_inbound_rate")
CLOCK = ("send_hour_sin", "send_hour_cos", "send_weekday", "preferred_hour_share")

lead_scoring_v1 = FeatureService(
    "lead_scoring_v1", MESSAGING + REPLIES + ORDERS + CAMPAIGN, (*RECENCY, "tenure_days", *HABITS)
)
churn_v1 = FeatureService(
    "churn_v1", MESSAGING + REPLIES + ORDERS + CAMPAIGN + TIMING, (*RECENCY, "tenure_days"), campaign_attributes=False
)
engagement_v1 = FeatureService(
    "engagement_v1", MESSAGING + REPLIES + CAMPAIGN + TIMING, (*RECENCY, "tenure_days", *CLOCK)
)

FEATURE_SERVICES: dict[str, FeatureService] = {
    service.name: service for service in (lead_scoring_v1, churn_v1, engagement_v1)
}
