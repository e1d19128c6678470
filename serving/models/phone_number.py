from __future__ import annotations

from sqlalchemy import CheckConstraint, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import ARRAY, TEXT
from sqlalchemy.orm import Mapped, mapped_column

from serving.models.base import Base, TenantRow, Timestamp


class PhoneNumber(TenantRow, Base):
    """A number the tenant sends from. `provider_number_id` is Meta's phone_number_id; it routes webhooks, belongs to
    one business in the world and is therefore unique across tenants; only an operator registers one."""

    __tablename__ = "phone_numbers"
    __table_args__ = (
        UniqueConstraint("tenant_id", "phone"),
        CheckConstraint("driver IN ('cloud_api', 'baileys')", name="driver"),
        CheckConstraint("status IN ('active', 'stopped')", name="status"),
    )

    phone: Mapped[str]
    provider_number_id: Mapped[str] = mapped_column(unique=True)
    business_account_id: Mapped[str | None]
    driver: Mapped[str] = mapped_column(server_default="cloud_api")
    is_whatsapp: Mapped[bool] = mapped_column(server_default="true")
    status: Mapped[str] = mapped_column(server_default="active")
    status_reason: Mapped[str | None]
    quality_score: Mapped[str] = mapped_column(server_default="green")
    messaging_tier: Mapped[int | None] = mapped_column(server_default="100000")
    messages_per_second: Mapped[int] = mapped_column(server_default="80")
    warm_up_started_at: Mapped[Timestamp | None]
    tags: Mapped[list[str]] = mapped_column(ARRAY(TEXT), server_default=text("'{}'"))
