from __future__ import annotations

import uuid
from typing import Any

from sqlalchemy import CheckConstraint, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from serving.models.base import Base, Ingested, Known, TenantRow, Timestamp, tenant_key

PURPOSE = "purpose IN ('marketing', 'utility', 'service')"
STATUS = "status IN ('opted_in', 'opted_out')"


class Consent(TenantRow, Ingested, Base):
    """What a contact agrees to now. One row per tenant, contact and purpose; the gate reads it under FOR SHARE."""

    __tablename__ = "consents"
    HAS_PARENT = True
    __table_args__ = (
        UniqueConstraint("tenant_id", "contact_id", "purpose"),
        tenant_key("contact_id", "contacts", ondelete="CASCADE"),
        CheckConstraint(PURPOSE, name="purpose"),
        CheckConstraint(STATUS, name="status"),
    )

    contact_id: Mapped[uuid.UUID]
    purpose: Mapped[str] = mapped_column(server_default="marketing")
    status: Mapped[str]
    effective_at: Mapped[Timestamp]
    source: Mapped[str]


class ConsentEvent(TenantRow, Known, Ingested, Base):
    """A grant or withdrawal with its proof; append-only."""

    __tablename__ = "consent_events"
    HAS_PARENT = True
    __table_args__ = (
        tenant_key("contact_id", "contacts", ondelete="CASCADE"),
        UniqueConstraint("tenant_id", "event_key"),
        CheckConstraint(PURPOSE, name="purpose"),
        CheckConstraint(STATUS, name="status"),
    )

    contact_id: Mapped[uuid.UUID] = mapped_column(index=True)
    event_key: Mapped[str]
    purpose: Mapped[str] = mapped_column(server_default="marketing")
    status: Mapped[str]
    occurred_at: Mapped[Timestamp]
    source: Mapped[str]
    wording: Mapped[str | None]
    language: Mapped[str | None]
    proof: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))


class Unsubscriber(TenantRow, Base):
    """A number never to be sent marketing, as an HMAC: it survives the contact's deletion and re-import."""

    __tablename__ = "unsubscribers"
    __table_args__ = (UniqueConstraint("tenant_id", "phone_hmac"),)

    phone_hmac: Mapped[str]
    reason: Mapped[str]
    date: Mapped[Timestamp]
    campaign_id: Mapped[uuid.UUID | None]
