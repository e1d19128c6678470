from __future__ import annotations

import uuid
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

BATCH = 1_000
MAX_ATTRIBUTES = 100
MAX_NUMBER = 1e12


def _plain(attributes: dict[str, Any]) -> dict[str, Any]:
    if len(attributes) > MAX_ATTRIBUTES:
        raise ValueError(f"at most {MAX_ATTRIBUTES} attributes")
    for name, value in attributes.items():
        # Written so that NaN fails too.
        if isinstance(value, int | float) and not -MAX_NUMBER <= value <= MAX_NUMBER:
            raise ValueError(f"{name} is not a number between -1e12 and 1e12")
    return attributes


CampaignAttributes = Annotated[dict[str, Any], AfterValidator(_plain)]


class PredictRequest(BaseModel):
    """`campaign_id` names the campaign the contact would be sent; without it the model's reference campaign counts."""

    model_config = ConfigDict(extra="forbid")

    contact_id: uuid.UUID
    campaign_id: uuid.UUID | None = None
    campaign_attributes: CampaignAttributes | None = None


class PredictBatchRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    contact_ids: Annotated[list[uuid.UUID], Field(min_length=1, max_length=BATCH)]
    campaign_id: uuid.UUID | None = None
    campaign_attributes: CampaignAttributes | None = None


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
