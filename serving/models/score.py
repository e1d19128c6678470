from __future__ import annotations

import uuid
from typing import Any

from sqlalchemy import CheckConstraint, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from serving.models.base import Base, Ingested, TenantRow, Timestamp, tenant_key


class Score(TenantRow, Ingested, Base):
    """A contact's current score by one model. `probability` is calibrated, in [0, 1]; `score` is what people read."""

    __tablename__ = "scores"
    HAS_PARENT = True
    __table_args__ = (
        UniqueConstraint("tenant_id", "model", "contact_id"),
        tenant_key("contact_id", "contacts", ondelete="CASCADE"),
        Index("ix_scores_best", "tenant_id", "model", "score"),
        CheckConstraint("probability BETWEEN 0 AND 1", name="probability"),
    )

    contact_id: Mapped[uuid.UUID]
    model: Mapped[str]
    model_version: Mapped[str]
    score: Mapped[float]
    probability: Mapped[float]
    tier: Mapped[str]
    reasons: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    feature_snapshot_id: Mapped[str]
    scored_at: Mapped[Timestamp]
