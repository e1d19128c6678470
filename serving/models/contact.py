from __future__ import annotations

import uuid
from typing import Any

from sqlalchemy import CheckConstraint, Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import ARRAY, TEXT
from sqlalchemy.orm import Mapped, mapped_column

from serving.models.base import Base, Ingested, Known, TenantRow, tenant_key


class Contact(TenantRow, Known, Ingested, Base):
    """A person the tenant talks to. `phone` is E.164; null when WhatsApp gave only a user id."""

    __tablename__ = "contacts"
    __table_args__ = (
        # No constraint, which would be a key: a change of phone would lock the row against its own messages.
        Index(
            "uq_contacts_tenant_id_phone",
            "tenant_id",
            "phone",
            unique=True,
            postgresql_where=text("phone IS NOT NULL"),
        ),
        UniqueConstraint("tenant_id", "source", "external_id"),
        CheckConstraint("status IN ('active', 'archived', 'unreachable')", name="status"),
        CheckConstraint("priority IN ('low', 'normal', 'high')", name="priority"),
        Index("ix_contacts_tags", "tags", postgresql_using="gin"),
    )

    phone: Mapped[str | None]
    name: Mapped[str | None]
    email: Mapped[str | None]
    language: Mapped[str | None]
    timezone: Mapped[str | None]
    tags: Mapped[list[str]] = mapped_column(ARRAY(TEXT), server_default=text("'{}'"))
    custom_data: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    priority: Mapped[str] = mapped_column(server_default="normal")
    source: Mapped[str] = mapped_column(server_default="api")
    external_id: Mapped[str | None]
    status: Mapped[str] = mapped_column(server_default="active")


class ContactIdentity(TenantRow, Base):
    """A name by which the outside knows a contact: a phone, WhatsApp's user id, or the business's own id."""

    __tablename__ = "contact_identities"
    HAS_PARENT = True
    __table_args__ = (
        UniqueConstraint("tenant_id", "kind", "value"),
        tenant_key("contact_id", "contacts", ondelete="CASCADE"),
        CheckConstraint("kind IN ('phone', 'whatsapp_user_id', 'external')", name="kind"),
    )

    contact_id: Mapped[uuid.UUID] = mapped_column(index=True)
    kind: Mapped[str]
    value: Mapped[str]
