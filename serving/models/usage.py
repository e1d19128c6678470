from __future__ import annotations

import datetime as dt

from sqlalchemy import BigInteger, CheckConstraint, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from serving.models.base import Base, Ingested, TenantRow


class UsageRecord(TenantRow, Ingested, Base):
    """What a tenant used on one UTC day. One row per tenant and date."""

    __tablename__ = "usage_records"
    __table_args__ = (
        UniqueConstraint("tenant_id", "date"),
        CheckConstraint("api_calls >= 0 AND messages_sent >= 0", name="counts"),
    )

    date: Mapped[dt.date]
    api_calls: Mapped[int] = mapped_column(BigInteger, server_default="0")
    messages_sent: Mapped[int] = mapped_column(BigInteger, server_default="0")


class UsageBatch(TenantRow, Base):
    """A batch of counted API calls that the tenant's usage has taken in; noted so that none is added twice."""

    __tablename__ = "usage_batches"
