"""Features made at the moment of use, by the same code at fit and at predict: ages of stored moments, and the clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

MICROSECONDS_A_DAY = 86_400_000_000
MISSING_MOMENT = np.iinfo(np.int64).min
# Imagined beside what was seen, so that one answer or a first week is not taken for a habit: reads that brought no
# reply, and days of silence.
IMAGINED_READS = 5.0
IMAGINED_DAYS = 30.0
# Quarter of the local day (hour // 6) -> the feature that counts signs of life in it.
QUARTERS = ("active_night_90d", "active_morning_90d", "active_afternoon_90d", "active_evening_90d")


@dataclass(frozen=True)
class OnDemandFeature:
    """`needs` names the stored features it is made of; every one may also look at the moment of use."""

    name: str
    description: str
    unit: str
    null_means: str
    needs: tuple[str, ...] = ()
    window: str = "at use"


@dataclass(frozen=True)
class Use:
    """The moment of use. `at` is microseconds since the epoch (UTC), `hour` (with its fraction) and `weekday`
    (Monday 0) are the tenant's local clock; each an array of one value a row, or of one value for all rows."""

    at: NDArray[np.int64]
    hour: NDArray[np.float64]
    weekday: NDArray[np.float64]


AGES = {
    "days_since_last_sent": "last_sent_at",
    "days_since_last_read": "last_read_at",
    "days_since_last_inbound": "last_inbound_at",
    "days_since_last_order": "last_order_at",
    "tenure_days": "first_known_at",
}
NEVER = "Never missing."
ON_DEMAND: dict[str, OnDemandFeature] = {
    feature.name: feature
    for feature in (
        *(
            OnDemandFeature(name, f"Time since `{moment}`.", "days", f"`{moment}` is missing.", (moment,))
            for name, moment in AGES.items()
        ),
        OnDemandFeature("send_hour_sin", "Sine of the hour of use on the tenant's clock.", "[-1, 1]", NEVER),
        OnDemandFeature("send_hour_cos", "Cosine of the hour of use on the tenant's clock.", "[-1, 1]", NEVER),
        OnDemandFeature("send_weekday", "Day of the week of use on the tenant's clock, Monday 0.", "0-6", NEVER),
        OnDemandFeature(
            "preferred_hour_share",
            "Share of the contact's signs of life that fell into this quarter of the local day.",
            "rate",
            "The contact gave no sign of life in 90 days.",
            QUARTERS,
        ),
        OnDemandFeature(
            "campaign_read_rate",
            "Share of all campaign messages ever sent that was read by now.",
            "rate",
            "No campaign message was ever sent.",
            ("campaign_read_total", "campaigns_total"),
            "ever",
        ),
        OnDemandFeature(
            "campaign_reply_rate",
            "Campaign messages replied to, of those ever read and five more without a reply.",
            "rate",
            "No campaign message was ever sent.",
            ("campaign_replied_total", "campaign_read_total"),
            "ever",
        ),
        OnDemandFeature(
            "unprompted_inbound_rate",
            "Inbound messages that answer none of ours, per day since the contact became known and thirty more.",
            "messages a day",
            "The contact never wrote, or `first_known_at` is missing.",
            ("inbound_total", "replies_total", "first_known_at"),
            "ever",
        ),
    )
}


def on_demand(
    name: str, numbers: Mapping[str, NDArray[np.float32]], moments: Mapping[str, NDArray[np.int64]], use: Use
) -> NDArray[np.float64]:
    """One value a row (or one for all); NaN where what it needs is missing."""
    if name in AGES:
        return _days_since(moments[AGES[name]], use)
    if name == "campaign_read_rate":
        return _share(numbers["campaign_read_total"], numbers["campaigns_total"])
    if name == "campaign_reply_rate":
        return _share(numbers["campaign_replied_total"], numbers["campaign_read_total"] + IMAGINED_READS)
    if name == "unprompted_inbound_rate":
        unprompted = numbers["inbound_total"] - numbers["replies_total"]
        return _share(unprompted, _days_since(moments["first_known_at"], use) + IMAGINED_DAYS)
    if name == "send_hour_sin":
        sine: NDArray[np.float64] = np.sin(use.hour * (2 * np.pi / 24))
        return sine
    if name == "send_hour_cos":
        cosine: NDArray[np.float64] = np.cos(use.hour * (2 * np.pi / 24))
        return cosine
    if name == "send_weekday":
        return use.weekday
    if name == "preferred_hour_share":
        counts = np.stack([numbers[quarter] for quarter in QUARTERS]).astype(np.float64)
        quarter = np.broadcast_to((use.hour // 6).astype(np.int64), counts.shape[1:])
        chosen = counts[quarter, np.arange(counts.shape[1])]
        return _share(chosen, counts.sum(axis=0))
    raise KeyError(name)


def _days_since(moment: NDArray[np.int64], use: Use) -> NDArray[np.float64]:
    """NaN where the moment is missing."""
    days = (use.at - np.where(moment == MISSING_MOMENT, 0, moment)) / MICROSECONDS_A_DAY
    known: NDArray[np.float64] = np.where(moment == MISSING_MOMENT, np.nan, days)
    return known


def _share(part: NDArray[Any], whole: NDArray[Any]) -> NDArray[np.float64]:
    """NaN where either is missing or the whole is nothing."""
    of = np.asarray(whole, np.float64)
    share: NDArray[np.float64] = np.divide(part, of, out=np.full_like(of, np.nan), where=of > 0)
    return share
