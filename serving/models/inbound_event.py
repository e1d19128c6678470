from __future__ import annotations

from typing import Any

from sqlalchemy import Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from serving.models.base import Base, TenantRow, Timestamp


class InboundEvent(TenantRow, Base):
    """The inbox: one verified webhook event as it arrived, unique by the event's key, processed once."""

    __tablename__ = "inbound_events"
    __table_args__ = (
        UniqueConstraint("tenant_id", "event_key"),
        Index("ix_inbound_events_pending", "tenant_id", "received_at", postgresql_where=text("processed_at IS NULL")),
    )

    event_key: Mapped[str]
    kind: Mapped[str]
    provider_number_id: Mapped[str]
    occurred_at: Mapped[Timestamp]
    received_at: Mapped[Timestamp]
    payload: Mapped[dict[str, Any]]
    attempts: Mapped[int] = mapped_column(server_default="0")
    processed_at: Mapped[Timestamp | None]
    error: Mapped[str | None]
