from __future__ import annotations

import uuid
from typing import Any

from sqlalchemy import CheckConstraint, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from serving.models.base import Base, Ingested, TenantRow, Timestamp, tenant_key

STATES = ("queued", "sending", "accepted", "sent", "delivered", "read", "failed", "suppressed", "unknown")


class OutboundMessage(TenantRow, Ingested, Base):
    """The outbox; `id` is our own message id. One row per tenant, campaign, contact and step; states go on only."""

    __tablename__ = "outbound_messages"
    HAS_PARENT = True
    __table_args__ = (
        UniqueConstraint("tenant_id", "campaign_id", "contact_id", "step"),
        tenant_key("campaign_id", "campaigns"),
        tenant_key("contact_id", "contacts", ondelete="CASCADE"),
        tenant_key("phone_number_id", "phone_numbers"),
        CheckConstraint(f"state IN {STATES}", name="state"),
        CheckConstraint("purpose IN ('marketing', 'utility', 'service')", name="purpose"),
        Index(
            "ix_outbound_messages_due", "tenant_id", "due_at", postgresql_where=text("state IN ('queued', 'sending')")
        ),
        Index("ix_outbound_messages_provider", "tenant_id", "provider_id"),
        Index("ix_outbound_messages_contact", "tenant_id", "contact_id"),
        Index(
            "ix_outbound_messages_unanswered",
            "tenant_id",
            "contact_id",
            postgresql_where=text("state IN ('sending', 'unknown')"),
        ),
    )

    campaign_id: Mapped[uuid.UUID | None]
    contact_id: Mapped[uuid.UUID]
    step: Mapped[int] = mapped_column(server_default="0")
    phone_number_id: Mapped[uuid.UUID]
    purpose: Mapped[str] = mapped_column(server_default="marketing")
    payload: Mapped[dict[str, Any]]
    payload_hash: Mapped[str]
    state: Mapped[str] = mapped_column(server_default="queued")
    reason: Mapped[str | None]
    attempt: Mapped[int] = mapped_column(server_default="0")
    lease_until: Mapped[Timestamp | None]
    due_at: Mapped[Timestamp]
    provider_id: Mapped[str | None]
    accepted_at: Mapped[Timestamp | None]


class SendAttempt(TenantRow, Base):
    """One try at the network: written before the request may leave, and completed with its answer. `outcome` is None
    while no answer is known."""

    __tablename__ = "send_attempts"
    HAS_PARENT = True
    __table_args__ = (
        UniqueConstraint("tenant_id", "outbound_message_id", "attempt"),
        tenant_key("outbound_message_id", "outbound_messages", ondelete="CASCADE"),
    )

    outbound_message_id: Mapped[uuid.UUID]
    attempt: Mapped[int]
    started_at: Mapped[Timestamp]
    finished_at: Mapped[Timestamp | None]
    outcome: Mapped[str | None]
    provider_id: Mapped[str | None]
    error_code: Mapped[int | None]
    error_detail: Mapped[str | None]


class Decision(TenantRow, Ingested, Base):
    """Why a contact was, or was not, sent to; append-only. `assignment_probability` is the chance of the arm it got."""

    __tablename__ = "decisions"
    HAS_PARENT = True
    __table_args__ = (
        tenant_key("campaign_id", "campaigns"),
        tenant_key("contact_id", "contacts", ondelete="CASCADE"),
        CheckConstraint("outcome IN ('send', 'hold_out', 'suppress', 'defer')", name="outcome"),
        Index("ix_decisions_campaign", "tenant_id", "campaign_id", "contact_id"),
    )

    campaign_id: Mapped[uuid.UUID | None]
    contact_id: Mapped[uuid.UUID]
    outbound_message_id: Mapped[uuid.UUID | None]
    stage: Mapped[str]
    outcome: Mapped[str]
    reason: Mapped[str]
    policy_version: Mapped[str]
    feature_snapshot_id: Mapped[str | None]
    model_name: Mapped[str | None]
    model_version: Mapped[str | None]
    score: Mapped[float | None]
    assignment_probability: Mapped[float | None]
    decided_at: Mapped[Timestamp]
