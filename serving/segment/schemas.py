from __future__ import annotations

import datetime as dt
import uuid
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from serving.contact.schemas import Status, Tags

Name = Annotated[str, Field(min_length=1, max_length=200)]
MAX_STATIC = 10_000


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ScoredDefinition(Strict):
    """Contacts a model scores at least `min_score` (0-100), or the best `top_fraction` of all it scores."""

    kind: Literal["scored"]
    model: Literal["lead_scoring", "churn", "engagement"]
    min_score: Annotated[float, Field(ge=0, le=100)] | None = None
    top_fraction: Annotated[float, Field(gt=0, le=1)] | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> ScoredDefinition:
        if (self.min_score is None) == (self.top_fraction is None):
            raise ValueError("give either min_score or top_fraction")
        return self


class RuleDefinition(Strict):
    """Contacts of a status that have every tag of `all_tags`, one of `any_tags`, and none of `no_tags`."""

    kind: Literal["rule"]
    all_tags: Tags = []
    any_tags: Tags = []
    no_tags: Tags = []
    status: Status = "active"


class StaticDefinition(Strict):
    kind: Literal["static"]
    contact_ids: Annotated[list[uuid.UUID], Field(max_length=MAX_STATIC)]


class SegmentCreate(Strict):
    name: Name
    description: Annotated[str, Field(max_length=1_000)] | None = None
    definition: Annotated[ScoredDefinition | RuleDefinition | StaticDefinition, Field(discriminator="kind")]


class SegmentRead(BaseModel):
    """`member_count` is as of `refreshed_at`; `model_version` made the scores the members were chosen by."""

    model_config = ConfigDict(from_attributes=True)

    id: uuid.UUID
    name: str
    kind: Literal["static", "rule", "scored"]
    description: str | None
    definition: dict[str, Any]
    model_version: str | None
    member_count: int
    refreshed_at: dt.datetime | None
    created_at: dt.datetime


class MemberRead(BaseModel):
    """`score` is null but for a scored segment."""

    model_config = ConfigDict(from_attributes=True)

    contact_id: uuid.UUID
    score: float | None
    reason: str | None
