from __future__ import annotations

import datetime as dt
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Model = Literal["lead_scoring", "churn", "engagement"]


class ScoreInterval(BaseModel):
    """Where the contact's own probability lies with certainty `level`; all three 0-1."""

    low: float
    high: float
    level: float


class PublishedScore(BaseModel):
    """A score as it was published at `scored_at`. `model_version` is "rule" where no model speaks; `digest` names the
    model's file. `interval` is null where the model gives none."""

    model_config = ConfigDict(from_attributes=True)

    model: Model
    model_version: str
    digest: str | None
    score: float = Field(description="0-100, as people read it")
    probability: float = Field(description="Calibrated, 0-1")
    interval: ScoreInterval | None
    tier: str
    reasons: dict[str, Any]
    feature_snapshot_id: str
    scored_at: dt.datetime


class CurrentScore(PublishedScore):
    """`tier_since` is when the contact entered its present tier."""

    tier_since: dt.datetime
