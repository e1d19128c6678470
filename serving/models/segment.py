from __future__ import annotations

import uuid
from typing import Any

from sqlalchemy import CheckConstraint, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from serving.models.base import Base, TenantRow, Timestamp, tenant_key


class Segment(TenantRow, Base):
    """A named set of contacts: a fixed list, a rule over contacts, or those a model scores high."""

    __tablename__ = "segments"
    __table_args__ = (
        UniqueConstraint("tenant_id", "name"),
        CheckConstraint("kind IN ('static', 'rule', 'scored')", name="kind"),
    )

    name: Mapped[str]
    kind: Mapped[str]
    description: Mapped[str | None]
    definition: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    model_version: Mapped[str | None]
    member_count: Mapped[int] = mapped_column(server_default="0")
    refreshed_at: Mapped[Timestamp | None]


class SegmentMember(TenantRow, Base):
    __tablename__ = "segment_members"
    HAS_PARENT = True
    __table_args__ = (
        UniqueConstraint("tenant_id", "segment_id", "contact_id"),
        tenant_key("segment_id", "segments", ondelete="CASCADE"),
        tenant_key("contact_id", "contacts", ondelete="CASCADE"),
    )

    segment_id: Mapped[uuid.UUID]
    contact_id: Mapped[uuid.UUID]
    score: Mapped[float | None]
    reason: Mapped[str | None]
