from __future__ import annotations

import datetime as dt
import uuid
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from serving.contact.schemas import Status, Tags

Name = Annotated[str, Field(min_length=1, max_length=200)]
MAX_STATIC = 10_000
Tier = Literal["hot", "warm", "cold", "high", "medium", "low", "likely", "possible", "unlikely"]
TIERS = {
    "lead_scoring": ("hot", "warm", "cold"),
    "churn": ("high", "medium", "low"),
    "engagement": ("likely", "possible", "unlikely"),
}


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ScoredDefinition(Strict):
    """Contacts a model scores at least `min_score` (0-100), or the best `top_fraction` of all it scores; of these, or
    of all, those whose tier is one of `tiers` and who entered it within the last `tier_entered_within_days`.

    A contact's first score counts as entering its tier. The days are counted back from each refresh."""

    kind: Literal["scored"]
    model: Literal["lead_scoring", "churn", "engagement"]
    min_score: Annotated[float, Field(ge=0, le=100)] | None = None
    top_fraction: Annotated[float, Field(gt=0, le=1)] | None = None
    tiers: Annotated[list[Tier], Field(max_length=len(TIERS))] = []
    tier_entered_within_days: Annotated[int, Field(ge=1, le=365)] | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> ScoredDefinition:
        if self.min_score is not None and self.top_fraction is not None:
            raise ValueError("give either min_score or top_fraction")
        if self.min_score is None and self.top_fraction is None and not self.tiers:
            raise ValueError("give min_score, top_fraction or tiers")
        known = TIERS[self.model]
        foreign = [tier for tier in self.tiers if tier not in known]
        if foreign:
            raise ValueError(f"{self.model} has the tiers {', '.join(known)}, not {', '.join(foreign)}")
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
