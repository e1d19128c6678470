from __future__ import annotations

import uuid

from sqlalchemy import Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped

from serving.models.base import Base, TenantRow, Timestamp


class Erasure(TenantRow, Base):
    """That a person was erased at `erased_at`, and when (UTC) the warehouse and the files beside it had forgotten it
    too; null until then. `contact_id` is the id of a row that is gone and names nobody."""

    __tablename__ = "erasures"
    __table_args__ = (
        UniqueConstraint("tenant_id", "contact_id"),
        Index("ix_erasures_unpurged", "erased_at", postgresql_where=text("purged_at IS NULL")),
    )

    contact_id: Mapped[uuid.UUID]
    erased_at: Mapped[Timestamp]
    purged_at: Mapped[Timestamp | None]
