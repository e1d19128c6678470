from __future__ import annotations

import uuid
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from serving.models.base import Base, Ingested, Known, TenantRow, Timestamp, tenant_key


class Campaign(TenantRow, Known, Ingested, Base):
    """A message to many. `attributes` are its typed facts (offer, value, channel), known before a send and so inputs of
    the models. A conversion is an order, or an explicit redemption, within `attribution_seconds` of the send."""

    __tablename__ = "campaigns"
    __table_args__ = (
        UniqueConstraint("tenant_id", "external_id"),
        tenant_key("segment_id", "segments"),
        tenant_key("phone_number_id", "phone_numbers"),
        Index("ix_campaigns_scheduled", "start_date", postgresql_where=text("status = 'scheduled'")),
        CheckConstraint("type IN ('broadcast', 'drip', 'nurture', 'followup')", name="type"),
        CheckConstraint("status IN ('draft', 'scheduled', 'running', 'paused', 'completed', 'stopped')", name="status"),
        CheckConstraint("conversion_event IN ('order', 'redemption')", name="conversion_event"),
        CheckConstraint("holdout_rate >= 0 AND holdout_rate < 1", name="holdout_rate"),
    )

    name: Mapped[str]
    type: Mapped[str] = mapped_column(server_default="broadcast")
    status: Mapped[str] = mapped_column(server_default="draft")
    status_reason: Mapped[str | None]
    message_template: Mapped[str]
    template_name: Mapped[str | None]
    template_language: Mapped[str] = mapped_column(server_default="en")
    attributes: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    conversion_event: Mapped[str] = mapped_column(server_default="order")
    attribution_seconds: Mapped[int] = mapped_column(server_default="604800")
    holdout_rate: Mapped[float] = mapped_column(server_default="0")
    segment_id: Mapped[uuid.UUID | None]
    phone_number_id: Mapped[uuid.UUID | None]
    start_date: Mapped[Timestamp | None]
    end_date: Mapped[Timestamp | None]
    created_by: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    external_id: Mapped[str | None]
    stats: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
