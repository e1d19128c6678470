"""Tenants as the operator makes them, and the API keys a tenant makes for itself."""

from __future__ import annotations

import datetime as dt
import re
import secrets
import uuid
import zoneinfo
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import psycopg
import sqlalchemy as sa
from psycopg.types.json import Jsonb
from sqlalchemy.orm import Session

from gateway.errors import InvalidPhoneNumber
from gateway.types import PhoneNumber
from serving.auth.caller import Caller, Role
from serving.auth.passwords import hash_password
from serving.auth.tokens import api_key_hash, new_api_key
from serving.errors import Conflict, Forbidden, NotFound, Unprocessable
from serving.models import ApiKey

_SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
KEY_PREFIX_LENGTH = 11
# What a new row of a table can have in common with one that is there.
TAKEN = {
    "tenants": "a tenant of this slug exists",
    "users": "a user of this name exists",
    "phone_numbers": "a tenant has this provider_number_id",
}


class TenantExists(Conflict):
    title = "A tenant, user or number of that name exists"


class ApiKeyNotFound(NotFound):
    title = "There is no such API key"


@dataclass(frozen=True, slots=True)
class CreatedTenant:
    """`password` is set when one was generated; it and `api_key` are not kept anywhere and cannot be shown again."""

    tenant_id: uuid.UUID
    user_id: uuid.UUID
    username: str
    password: str | None
    api_key: str
    phone_number_id: uuid.UUID | None


@dataclass(frozen=True, slots=True)
class CreatedApiKey:
    """`secret` cannot be shown again."""

    key: ApiKey
    secret: str


def create_tenant(
    admin_url: str,
    slug: str,
    name: str,
    admin_email: str,
    password: str | None = None,
    timezone: str = "UTC",
    *,
    settings: Mapping[str, Any] | None = None,
    backfilled_until: dt.datetime | None = None,
    phone: str | None = None,
    provider_number_id: str | None = None,
    business_account_id: str | None = None,
) -> CreatedTenant:
    """A tenant with its administrator, a first API key and, if `phone` is given, a number to send from.

    For the operator: `admin_url` is the URL of a role that bypasses row-level security, which no process of the product
    has. A user of that e-mail address becomes this tenant's administrator too and keeps its password.
    Raises: Unprocessable, TenantExists.
    """
    _check(slug, timezone, phone, provider_number_id)
    email = admin_email.strip().lower()
    generated = None if password else secrets.token_urlsafe(16)
    secret = new_api_key()
    try:
        with psycopg.connect(admin_url) as connection:
            tenant_id = _one(
                connection,
                "INSERT INTO tenants (slug, name, timezone, settings, backfilled_until) VALUES (%s, %s, %s, %s, %s)"
                " RETURNING id",
                (slug, name, timezone, Jsonb(dict(settings or {})), backfilled_until),
            )
            known = connection.execute("SELECT id FROM users WHERE email = %s", (email,)).fetchone()
            user_id = (
                known[0]
                if known
                else _one(
                    connection,
                    "INSERT INTO users (username, email, password_hash, role) VALUES (%s, %s, %s, 'admin')"
                    " RETURNING id",
                    (email, email, hash_password(password or generated or "")),
                )
            )
            connection.execute(
                "INSERT INTO tenant_users (tenant_id, user_id, role) VALUES (%s, %s, 'admin')", (tenant_id, user_id)
            )
            connection.execute(
                "INSERT INTO api_keys (tenant_id, key_hash, key_prefix, name, role) VALUES (%s, %s, %s, %s, 'admin')",
                (tenant_id, api_key_hash(secret), secret[:KEY_PREFIX_LENGTH], "first key"),
            )
            number_id = None
            if phone is not None:
                number_id = _one(
                    connection,
                    "INSERT INTO phone_numbers (tenant_id, phone, provider_number_id, business_account_id)"
                    " VALUES (%s, %s, %s, %s) RETURNING id",
                    (tenant_id, phone, provider_number_id, business_account_id),
                )
    except psycopg.errors.UniqueViolation as error:
        table = error.diag.table_name or ""
        raise TenantExists(TAKEN.get(table)) from error
    return CreatedTenant(tenant_id, user_id, email, None if known else generated, secret, number_id)


def create_api_key(
    session: Session,
    caller: Caller,
    *,
    name: str,
    role: Role,
    rate_limit: int,
    expires_at: dt.datetime | None,
    now: dt.datetime,
) -> CreatedApiKey:
    """A new key of the caller's tenant. Raises: Forbidden when the key would have more rights than the caller,
    Unprocessable when it would have expired by now."""
    if expires_at is not None and expires_at <= now:
        errors = [{"field": "expires_at", "message": "must lie in the future", "code": "in_the_past"}]
        raise Unprocessable(errors=errors)
    if not caller.may(role):
        raise Forbidden("a key cannot have more rights than who makes it", required_role=role.value)
    secret = new_api_key()
    key = ApiKey(
        tenant_id=caller.tenant_id,
        key_hash=api_key_hash(secret),
        key_prefix=secret[:KEY_PREFIX_LENGTH],
        name=name,
        role=role.value,
        rate_limit=rate_limit,
        expires_at=expires_at,
    )
    session.add(key)
    session.flush()
    session.refresh(key)
    return CreatedApiKey(key, secret)


def list_api_keys(session: Session) -> list[ApiKey]:
    return list(session.scalars(sa.select(ApiKey).order_by(ApiKey.created_at, ApiKey.id)))


def revoke_api_key(session: Session, key_id: uuid.UUID, now: dt.datetime) -> None:
    """Ends the key; again changes nothing. Other processes notice within a minute. Raises: ApiKeyNotFound."""
    key = session.scalar(sa.select(ApiKey).where(ApiKey.id == key_id).with_for_update())
    if key is None:
        raise ApiKeyNotFound
    key.revoked_at = key.revoked_at or now


def _one(connection: psycopg.Connection[Any], query: str, values: tuple[Any, ...]) -> uuid.UUID:
    row = connection.execute(query, values).fetchone()
    assert row is not None  # noqa: S101 - INSERT ... RETURNING gives its row
    return uuid.UUID(str(row[0]))


def _is_e164(text: str) -> bool:
    try:
        return PhoneNumber.parse(text).e164 == text
    except InvalidPhoneNumber:
        return False


def _check(slug: str, timezone: str, phone: str | None, provider_number_id: str | None) -> None:
    errors = []
    if not _SLUG.fullmatch(slug):
        errors.append({"field": "slug", "message": "lower-case letters, digits and hyphens", "code": "slug"})
    if timezone not in zoneinfo.available_timezones():
        errors.append({"field": "timezone", "message": "an IANA time zone", "code": "timezone"})
    if phone is not None and not _is_e164(phone):
        errors.append({"field": "phone", "message": "a number in E.164, such as +491512345678", "code": "phone"})
    if (phone is None) != (provider_number_id is None):
        errors.append({"field": "provider_number_id", "message": "a number needs both", "code": "missing"})
    if errors:
        raise Unprocessable(errors=errors)
