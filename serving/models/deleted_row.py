from __future__ import annotations

import uuid

from sqlalchemy import Index, func, text
from sqlalchemy.orm import Mapped, mapped_column

from serving.models.base import Base, TenantRow, Timestamp, Xid8


class DeletedRow(TenantRow, Base):
    """That a row the warehouse reads was deleted; written by a trigger, never changed. One row per deletion.

    It outlives its tenant, so no key leads there. `contact_id` is whom the row was about, null when about nobody. A few
    dozen bytes each, they are kept for good: a warehouse built anew needs none, one that slept for a year needs all.
    """

    __tablename__ = "deleted_rows"
    HAS_PARENT = True
    __table_args__ = (Index("ix_deleted_rows_row", "tenant_id", "table_name", "row_id"),)

    table_name: Mapped[str]
    row_id: Mapped[uuid.UUID]
    contact_id: Mapped[uuid.UUID | None]
    deleted_at: Mapped[Timestamp] = mapped_column(server_default=func.now())
    changed_xid: Mapped[int] = mapped_column(Xid8(), server_default=text("pg_current_xact_id()"), index=True)
