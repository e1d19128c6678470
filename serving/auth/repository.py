"""The look-ups that run before a tenant is known; each calls one reviewed database function by an exact key."""

from __future__ import annotations

import datetime as dt
import uuid
from dataclasses import dataclass

import sqlalchemy as sa

from serving.auth.caller import Role
from serving.kit.database import Database


@dataclass(frozen=True, slots=True)
class Login:
    user_id: uuid.UUID
    password_hash: str
    is_active: bool


@dataclass(frozen=True, slots=True)
class Membership:
    tenant_id: uuid.UUID
    tenant_slug: str
    role: Role


@dataclass(frozen=True, slots=True)
class KnownUser:
    """A user with the tenants it belongs to, ordered by slug."""

    user_id: uuid.UUID
    username: str
    email: str
    is_active: bool
    memberships: tuple[Membership, ...]


@dataclass(frozen=True, slots=True)
class KnownApiKey:
    """`rate_limit` is in requests per minute."""

    key_id: uuid.UUID
    tenant_id: uuid.UUID
    tenant_slug: str
    role: Role
    rate_limit: int
    expires_at: dt.datetime | None
    revoked_at: dt.datetime | None


def find_login(database: Database, name: str) -> Login | None:
    with database.no_tenant() as session:
        row = session.execute(
            sa.text("SELECT user_id, password_hash, is_active FROM auth_login(:name)"), {"name": name.strip()}
        ).first()
    return Login(row.user_id, row.password_hash, row.is_active) if row else None


def find_user(database: Database, user_id: uuid.UUID) -> KnownUser | None:
    with database.no_tenant() as session:
        rows = session.execute(sa.text("SELECT * FROM auth_user(:wanted)"), {"wanted": user_id}).all()
    if not rows:
        return None
    return KnownUser(
        user_id=user_id,
        username=rows[0].username,
        email=rows[0].email,
        is_active=rows[0].is_active,
        memberships=tuple(
            Membership(row.tenant_id, row.tenant_slug, Role(row.tenant_role)) for row in rows if row.tenant_id
        ),
    )


def find_api_key(database: Database, key_hash: str, now: dt.datetime) -> KnownApiKey | None:
    """The key, noting that it was used; callers keep the answer, so `last_used` is exact to that time."""
    with database.no_tenant() as session:
        row = session.execute(sa.text("SELECT * FROM auth_api_key(:hash)"), {"hash": key_hash}).first()
        if row is None:
            return None
        session.execute(sa.text("SELECT auth_api_key_used(:hash, :at)"), {"hash": key_hash, "at": now})
    with database.tenant(row.tenant_id) as session:
        slug = session.scalar(sa.text("SELECT slug FROM tenants WHERE id = :id"), {"id": row.tenant_id})
    return KnownApiKey(
        key_id=row.key_id,
        tenant_id=row.tenant_id,
        tenant_slug=slug or "",
        role=Role(row.role),
        rate_limit=row.rate_limit,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
    )
