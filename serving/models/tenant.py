from __future__ import annotations

import uuid
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, UniqueConstraint, func, text
from sqlalchemy.orm import Mapped, mapped_column

from serving.models.base import Base, Ingested, TenantRow, Timestamp


class Tenant(Ingested, Base):
    """One business. `timezone` is the zone of its people who have none of their own."""

    __tablename__ = "tenants"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, server_default=func.gen_random_uuid())
    name: Mapped[str]
    slug: Mapped[str] = mapped_column(unique=True)
    domain: Mapped[str | None]
    plan: Mapped[str] = mapped_column(server_default="free")
    billing_customer_id: Mapped[str | None]
    timezone: Mapped[str] = mapped_column(server_default="UTC")
    backfilled_until: Mapped[Timestamp | None]
    settings: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    created_at: Mapped[Timestamp] = mapped_column(server_default=func.now())


class TenantUser(TenantRow, Base):
    __tablename__ = "tenant_users"
    __table_args__ = (
        UniqueConstraint("tenant_id", "user_id"),
        CheckConstraint("role IN ('admin', 'marketer', 'sales')", name="role"),
    )

    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    role: Mapped[str]


class ApiKey(TenantRow, Base):
    """A key of a tenant; only the SHA-256 of the secret is kept. `rate_limit` is in requests per minute."""

    __tablename__ = "api_keys"
    __table_args__ = (
        UniqueConstraint("tenant_id", "key_hash"),
        CheckConstraint("role IN ('admin', 'marketer', 'sales')", name="role"),
    )

    key_hash: Mapped[str] = mapped_column(index=True)
    key_prefix: Mapped[str]
    name: Mapped[str]
    role: Mapped[str] = mapped_column(server_default="marketer")
    rate_limit: Mapped[int] = mapped_column(server_default="600")
    last_used: Mapped[Timestamp | None]
    expires_at: Mapped[Timestamp | None]
    revoked_at: Mapped[Timestamp | None]
