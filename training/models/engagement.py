"""Engagement: will this contact read this campaign if it is sent at this hour?"""

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

CROSSED_FIELDS = ("send_hour_sin", "send_hour_cos", "send_weekday", "preferred_hour_share", "tenure_days")


def build_spine(warehouse: Warehouse, tenant_id: str, now: datetime, max_rows: int) -> Spine:
    return Spine(with_later_outcome(matured_sends(warehouse, tenant_id, now, max_rows, "read_at")), {})


def build_pipeline(params: Params, inputs: Sequence[InputColumn], seed: int, threads: int) -> Any:
    """Logistic regression over piecewise-linear terms. What we choose (the campaign and the hour) and who they are is
    crossed with everything known, because people differ in what they answer to and when."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler

    from training.piecewise import PiecewiseTerms

    crossed = tuple(
        position
        for position, given in enumerate(inputs)
        if given.source in ("campaign_attribute", "contact_attribute") or given.field in CROSSED_FIELDS
    )
    return Pipeline(
        [
            ("terms", PiecewiseTerms(segments=int(params["segments"]), crossed=crossed)),
            ("scale", StandardScaler()),
            (
                "logistic",
                LogisticRegression(
                    C=params["C"], tol=params["tol"], max_iter=int(params["max_iter"]), random_state=seed
                ),
            ),
        ]
    )


def rule(frame: pl.DataFrame) -> npt.NDArray[np.float64]:
    """How often they read (two imagined sends, one read), and how lately."""
    reads, sends = column(frame, "read_90d"), column(frame, "sent_90d")
    lately = recency(column(frame, "days_since_last_read", missing=90.0), half_life_days=30.0)
    return np.asarray(np.clip(0.8 * (reads + 1) / (sends + 2) + 0.2 * lately, 0.0, 1.0))


MODEL = ModelDefinition(
    name="engagement",
    feature_service="engagement_v1",
    unit="one campaign message sent to one contact, at the moment it was sent",
    label="the message was read before its campaign's attribution window closed",
    not_for="Messages within a conversation: it learnt from campaigns alone.",
    positive="read",
    params={"segments": 8, "C": 0.001, "tol": 5e-4, "max_iter": 150, "class_weight": 0.0},
    tiers={"likely": 60.0, "possible": 30.0, "unlikely": 0.0},
    scale="probability",
    build_spine=build_spine,
    build_pipeline=build_pipeline,
    rule=rule,
)
