from __future__ import annotations

import uuid

from sqlalchemy import CheckConstraint, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from serving.models.base import Base, Ingested, Known, TenantRow, Timestamp, tenant_key

MESSAGE_STATUS = "status IN ('pending', 'sent', 'delivered', 'read', 'failed')"


class Message(TenantRow, Known, Ingested, Base):
    """One message either way. `timestamp` is when it was sent (UTC); `status` never goes back."""

    __tablename__ = "messages"
    HAS_PARENT = True
    __table_args__ = (
        UniqueConstraint("tenant_id", "provider_id"),
        tenant_key("contact_id", "contacts", ondelete="CASCADE"),
        tenant_key("conversation_id", "conversations", ondelete="CASCADE"),
        tenant_key("campaign_id", "campaigns"),
        CheckConstraint("direction IN ('inbound', 'outbound')", name="direction"),
        CheckConstraint(MESSAGE_STATUS, name="status"),
        Index("ix_messages_conversation", "tenant_id", "conversation_id", "timestamp"),
        Index("ix_messages_contact", "tenant_id", "contact_id", "timestamp"),
        Index("ix_messages_timestamp", "tenant_id", "timestamp"),
    )

    contact_id: Mapped[uuid.UUID]
    conversation_id: Mapped[uuid.UUID]
    campaign_id: Mapped[uuid.UUID | None] = mapped_column(index=True)
    direction: Mapped[str]
    kind: Mapped[str] = mapped_column(server_default="text")
    text: Mapped[str | None]
    status: Mapped[str]
    timestamp: Mapped[Timestamp]
    provider_id: Mapped[str]
    reply_to_provider_id: Mapped[str | None]
    template_name: Mapped[str | None]
    media_url: Mapped[str | None]
    error_code: Mapped[int | None]


class MessageStatusEvent(TenantRow, Known, Ingested, Base):
    """What the provider said happened to a message. One row per tenant, message and status."""

    __tablename__ = "message_status_events"
    HAS_PARENT = True
    __table_args__ = (
        UniqueConstraint("tenant_id", "message_id", "status"),
        tenant_key("message_id", "messages", ondelete="CASCADE"),
        CheckConstraint("status IN ('sent', 'delivered', 'read', 'failed')", name="status"),
    )

    message_id: Mapped[uuid.UUID]
    status: Mapped[str]
    occurred_at: Mapped[Timestamp]
    error_code: Mapped[int | None]


class Reply(TenantRow, Known, Ingested, Base):
    """An inbound message that answers an outbound one: quoted, or the first within the campaign's attribution window.
    `message_id` is the inbound message, `in_reply_to_id` the outbound."""

    __tablename__ = "replies"
    HAS_PARENT = True
    __table_args__ = (
        UniqueConstraint("tenant_id", "message_id"),
        tenant_key("message_id", "messages", ondelete="CASCADE"),
        tenant_key("contact_id", "contacts", ondelete="CASCADE"),
        tenant_key("in_reply_to_id", "messages", ondelete="CASCADE"),
        tenant_key("campaign_id", "campaigns"),
        CheckConstraint(
            "classification IN ('interested', 'not_interested', 'question', 'unsubscribe')", name="classification"
        ),
    )

    message_id: Mapped[uuid.UUID]
    contact_id: Mapped[uuid.UUID] = mapped_column(index=True)
    in_reply_to_id: Mapped[uuid.UUID | None]
    campaign_id: Mapped[uuid.UUID | None] = mapped_column(index=True)
    text: Mapped[str | None]
    timestamp: Mapped[Timestamp]
    classification: Mapped[str | None]
    sentiment_score: Mapped[float | None]
