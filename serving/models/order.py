from __future__ import annotations

import uuid

from sqlalchemy import CheckConstraint, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from serving.models.base import Base, Cents, Ingested, Known, TenantRow, Timestamp, tenant_key


class Order(TenantRow, Known, Ingested, Base):
    __tablename__ = "orders"
    HAS_PARENT = True
    __table_args__ = (
        UniqueConstraint("tenant_id", "platform", "external_id"),
        tenant_key("contact_id", "contacts", ondelete="CASCADE"),
        CheckConstraint("status IN ('pending', 'shipped', 'delivered', 'cancelled')", name="status"),
        Index("ix_orders_contact", "tenant_id", "contact_id", "ordered_at"),
    )

    contact_id: Mapped[uuid.UUID]
    external_id: Mapped[str]
    platform: Mapped[str]
    status: Mapped[str] = mapped_column(server_default="pending")
    total_cents: Mapped[Cents]
    currency: Mapped[str] = mapped_column(server_default="USD")
    ordered_at: Mapped[Timestamp]


class OrderItem(TenantRow, Ingested, Base):
    __tablename__ = "order_items"
    HAS_PARENT = True
    __table_args__ = (tenant_key("order_id", "orders", ondelete="CASCADE"),)

    order_id: Mapped[uuid.UUID] = mapped_column(index=True)
    name: Mapped[str]
    quantity: Mapped[int]
    price_cents: Mapped[Cents]


class Conversion(TenantRow, Known, Ingested, Base):
    """An explicit redemption of a campaign's offer, as the business's own system recorded it."""

    __tablename__ = "conversions"
    HAS_PARENT = True
    __table_args__ = (
        UniqueConstraint("tenant_id", "external_id"),
        tenant_key("contact_id", "contacts", ondelete="CASCADE"),
        tenant_key("campaign_id", "campaigns"),
    )

    contact_id: Mapped[uuid.UUID] = mapped_column(index=True)
    campaign_id: Mapped[uuid.UUID]
    external_id: Mapped[str]
    value_cents: Mapped[Cents | None]
    occurred_at: Mapped[Timestamp]
