from __future__ import annotations

from sqlalchemy import UniqueConstraint
from sqlalchemy.orm import Mapped

from serving.models.base import Base, TenantRow


class ErasedEvent(TenantRow, Base):
    """The key of an event about a person who was erased, or the id of a message of theirs, as a keyed digest
    (serving.kit.keyed_digest): what is delivered again, or still said of the message, is not taken in. Kept for as long
    as a provider repeats itself."""

    __tablename__ = "erased_events"
    __table_args__ = (UniqueConstraint("tenant_id", "key_digest"),)

    key_digest: Mapped[str]
