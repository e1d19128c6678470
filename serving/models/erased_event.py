from __future__ import annotations

from sqlalchemy import UniqueConstraint
from sqlalchemy.orm import Mapped

from serving.models.base import Base, TenantRow


class ErasedEvent(TenantRow, Base):
    """An event about a person who was erased, as the SHA-256 of its key: delivered again, it is not taken in. Kept for
    as long as a provider repeats itself."""

    __tablename__ = "erased_events"
    __table_args__ = (UniqueConstraint("tenant_id", "key_digest"),)

    key_digest: Mapped[str]
