from __future__ import annotations

import uuid
from typing import Any

from sqlalchemy import CheckConstraint, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from serving.models.base import Base, Ingested, TenantRow, Timestamp, tenant_key


class Conversation(TenantRow, Ingested, Base):
    """All that is said between a contact and one of the tenant's numbers. `window_expires_at` is the end of the 24-hour
    service window, null before the contact's first message."""

    __tablename__ = "conversations"
    HAS_PARENT = True
    __table_args__ = (
        UniqueConstraint("tenant_id", "contact_id", "phone_number_id", postgresql_nulls_not_distinct=True),
        tenant_key("contact_id", "contacts", ondelete="CASCADE"),
        tenant_key("phone_number_id", "phone_numbers"),
        CheckConstraint("status IN ('open', 'closed', 'archived')", name="status"),
        Index("ix_conversations_last_message", "tenant_id", "last_message_at"),
    )

    contact_id: Mapped[uuid.UUID]
    phone_number_id: Mapped[uuid.UUID | None]
    started_at: Mapped[Timestamp]
    status: Mapped[str] = mapped_column(server_default="open")
    last_message_at: Mapped[Timestamp]
    window_expires_at: Mapped[Timestamp | None]
    metadata_: Mapped[dict[str, Any]] = mapped_column("metadata", server_default=text("'{}'::jsonb"))
