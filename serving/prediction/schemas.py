from __future__ import annotations

import uuid
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

BATCH = 1_000


class PredictRequest(BaseModel):
    """`campaign_id` names the campaign the contact would be sent; without it the model's reference campaign counts."""

    model_config = ConfigDict(extra="forbid")

    contact_id: uuid.UUID
    campaign_id: uuid.UUID | None = None
    campaign_attributes: dict[str, Any] | None = None


class PredictBatchRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    contact_ids: Annotated[list[uuid.UUID], Field(min_length=1, max_length=BATCH)]
    campaign_id: uuid.UUID | None = None
    campaign_attributes: dict[str, Any] | None = None


class PredictionRead(BaseModel):
    """`probability` is calibrated, in [0, 1]; `score` (0-100) is a lead's percentile, of other models the probability
    in per cent; `feature_snapshot_id` names the features it was made from."""

    contact_id: uuid.UUID
    model: str
    model_version: str
    score: float
    probability: float
    tier: str
    feature_snapshot_id: str


class NotPredicted(BaseModel):
    contact_id: uuid.UUID
    reason: Literal["contact_not_found", "features_missing"]


class PredictBatchRead(BaseModel):
    """Every contact asked about is in one of the two lists, each in the order asked."""

    predictions: list[PredictionRead]
    not_predicted: list[NotPredicted]
