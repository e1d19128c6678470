from __future__ import annotations

import uuid

from sqlalchemy import CheckConstraint, func
from sqlalchemy.orm import Mapped, mapped_column

from serving.models.base import Base, Timestamp


class User(Base):
    """A person who logs in. A member of several tenants keeps one password; rights come from `tenant_users`."""

    __tablename__ = "users"
    __table_args__ = (CheckConstraint("role IN ('admin', 'marketer', 'sales')", name="role"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, server_default=func.gen_random_uuid())
    username: Mapped[str] = mapped_column(unique=True)
    email: Mapped[str] = mapped_column(unique=True)
    password_hash: Mapped[str]
    is_active: Mapped[bool] = mapped_column(server_default="true")
    role: Mapped[str] = mapped_column(server_default="marketer")
    created_at: Mapped[Timestamp] = mapped_column(server_default=func.now())
    updated_at: Mapped[Timestamp] = mapped_column(server_default=func.now())
