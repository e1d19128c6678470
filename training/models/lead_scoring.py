"""Lead scoring: will this contact convert if this campaign is sent to them now?"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from training.models.definition import ModelDefinition, Params, Spine, column, recency
from training.models.sends import matured_sends, with_later_outcome

if TYPE_CHECKING:
    from feature_store.transforms import InputColumn
    from feature_store.warehouse import Warehouse

# A campaign that would have brought this many conversions at the tenant's rate and brought none cannot convert:
# chance alone does that once in exp(7), about 1,100 campaigns.
EXPECTED_CONVERSIONS = 7.0


def build_spine(warehouse: Warehouse, tenant_id: str, now: datetime, max_rows: int) -> Spine:
    sends = matured_sends(warehouse, tenant_id, now, max_rows, "converted_at")
    kept = without_campaigns_that_cannot_convert(sends)
    return Spine(with_later_outcome(kept), {"campaign cannot convert": sends.height - kept.height})


def without_campaigns_that_cannot_convert(sends: pl.DataFrame) -> pl.DataFrame:
    """The sends of campaigns a conversion was possible for.

    Left out is a campaign without a single conversion although EXPECTED_CONVERSIONS were to be expected of its size at
    the rate of the campaigns that do convert: an announcement has nothing to redeem, and its sends would teach the
    model to tell announcements from offers instead of buyers from others.
    """
    campaigns = sends.group_by("campaign_id").agg(pl.len().alias("sends"), pl.col("label").sum().alias("converted"))
    converting = campaigns.filter(pl.col("converted") > 0)
    if converting.is_empty():
        return sends
    rate = float(converting["converted"].sum()) / float(converting["sends"].sum())
    cannot = campaigns.filter((pl.col("converted") == 0) & (pl.col("sends") * rate >= EXPECTED_CONVERSIONS))
    return sends.join(cannot.select("campaign_id"), on="campaign_id", how="anti", maintain_order="left")


def build_pipeline(params: Params, inputs: Sequence[InputColumn], seed: int, threads: int) -> Any:
    """Boosted trees; missing values go down their own branch, so nothing is imputed."""
    from xgboost import XGBClassifier

    return XGBClassifier(
        n_estimators=int(params["n_estimators"]),
        max_depth=int(params["max_depth"]),
        learning_rate=params["learning_rate"],
        subsample=params["subsample"],
        colsample_bytree=params["colsample_bytree"],
        min_child_weight=params["min_child_weight"],
        reg_lambda=params["reg_lambda"],
        gamma=params["gamma"],
        tree_method="hist",
        random_state=seed,
        n_jobs=1,  # see training.train.one_native_thread
    )


def rule(frame: pl.DataFrame) -> npt.NDArray[np.float64]:
    """Who bought often and lately buys again."""
    bought = np.log1p(column(frame, "orders_90d") + column(frame, "campaign_converted_90d")) / np.log1p(20.0)
    lately = recency(column(frame, "days_since_last_order", missing=180.0), half_life_days=14.0)
    return np.asarray(np.clip(0.6 * bought + 0.4 * lately, 0.0, 1.0))


MODEL = ModelDefinition(
    name="lead_scoring",
    feature_service="lead_scoring_v1",
    unit="one campaign message sent to one contact, at the moment it was sent",
    label="the contact converted (redeemed, or ordered where the campaign names no redemption) within its window",
    not_for="Messages with nothing to redeem or buy: campaigns that cannot convert were left out.",
    positive="converted",
    # Conversions are rare, so most splits of a deep tree would be chance. One has to raise the log likelihood by
    # `gamma`, as one in two hundred does by luck: trees stay small where there are few conversions to learn from, and
    # grow to their five levels where there are many.
    params={
        "n_estimators": 200,
        "max_depth": 5,
        "gamma": 4.0,
        "learning_rate": 0.05,
        "subsample": 0.8,
        "colsample_bytree": 0.8,
        "min_child_weight": 20,
        "reg_lambda": 10.0,
        "class_weight": 0.0,
    },
    tiers={"hot": 80.0, "warm": 50.0, "cold": 0.0},
    scale="percentile",
    build_spine=build_spine,
    build_pipeline=build_pipeline,
    rule=rule,
)
