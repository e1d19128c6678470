from __future__ import annotations

import uuid
from typing import Any

from sqlalchemy import CheckConstraint, Index, UniqueConstraint, func, text
from sqlalchemy.orm import Mapped, mapped_column

from serving.models.base import Base, Ingested, TenantRow, Timestamp, tenant_key


class Score(TenantRow, Ingested, Base):
    """A contact's current score by one model. `probability` is calibrated, in [0, 1]; `score` is what people read.

    `probability_low` and `probability_high` are the ends of the interval that holds this contact's own probability at
    `interval_level` (0-1), and `digest` names the model's file: null where the rule scored or an old model did.
    `tier_since` is when the contact entered its tier. The warehouse does not read these.
    """

    __tablename__ = "scores"
    HAS_PARENT = True
    __table_args__ = (
        UniqueConstraint("tenant_id", "model", "contact_id"),
        tenant_key("contact_id", "contacts", ondelete="CASCADE"),
        Index("ix_scores_best", "tenant_id", "model", "score"),
        CheckConstraint("probability BETWEEN 0 AND 1", name="probability"),
        CheckConstraint("probability_low <= probability_high", name="interval"),
    )

    contact_id: Mapped[uuid.UUID]
    model: Mapped[str]
    model_version: Mapped[str]
    digest: Mapped[str | None]
    score: Mapped[float]
    probability: Mapped[float]
    probability_low: Mapped[float | None]
    probability_high: Mapped[float | None]
    interval_level: Mapped[float | None]
    tier: Mapped[str]
    tier_since: Mapped[Timestamp] = mapped_column(server_default=func.now())
    reasons: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    feature_snapshot_id: Mapped[str]
    scored_at: Mapped[Timestamp]


class ScoreHistory(TenantRow, Base):
    """A score as it was published. One row per contact, model and `scored_at`; columns as those of `scores`.

    `is_lasting` marks what is kept for years: the first of a month, and each that changed tier or model.
    """

    __tablename__ = "score_history"
    HAS_PARENT = True
    __table_args__ = (
        UniqueConstraint("tenant_id", "contact_id", "model", "scored_at"),
        tenant_key("contact_id", "contacts", ondelete="CASCADE"),
        Index("ix_score_history_age", "tenant_id", "model", "scored_at"),
    )

    contact_id: Mapped[uuid.UUID]
    model: Mapped[str]
    model_version: Mapped[str]
    digest: Mapped[str | None]
    score: Mapped[float]
    probability: Mapped[float]
    probability_low: Mapped[float | None]
    probability_high: Mapped[float | None]
    interval_level: Mapped[float | None]
    tier: Mapped[str]
    reasons: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    feature_snapshot_id: Mapped[str]
    scored_at: Mapped[Timestamp]
    is_lasting: Mapped[bool] = mapped_column(server_default=text("false"))
