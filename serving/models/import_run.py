from __future__ import annotations

from typing import Any

from sqlalchemy import CheckConstraint, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from serving.models.base import Base, TenantRow, Timestamp


class ImportRun(TenantRow, Base):
    """One import of a history: which mapping and files (by digest), how far it got, what it counted."""

    __tablename__ = "import_runs"
    __table_args__ = (
        UniqueConstraint("tenant_id", "digest"),
        CheckConstraint("state IN ('running', 'completed', 'failed')", name="state"),
    )

    digest: Mapped[str]
    source: Mapped[str]
    state: Mapped[str] = mapped_column(server_default="running")
    counts: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    finished_at: Mapped[Timestamp | None]
