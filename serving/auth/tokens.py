"""Access tokens (JWT, HS256) and the secrets of API keys."""

from __future__ import annotations

import datetime as dt
import hashlib
import secrets
import uuid
from dataclasses import dataclass
from typing import Any

import jwt

from serving.errors import Unauthenticated

ALGORITHM = "HS256"
ISSUER = "rapport"
AUDIENCE = "rapport-api"
API_KEY_PREFIX = "rk_"


@dataclass(frozen=True, slots=True)
class AccessToken:
    """What a verified token claims. `tenant_id` is None when the user chose no tenant at login."""

    user_id: uuid.UUID
    tenant_id: uuid.UUID | None


def issue(token: AccessToken, *, secret: str, now: dt.datetime, lifetime: dt.timedelta) -> str:
    claims: dict[str, Any] = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": str(token.user_id),
        "iat": int(now.timestamp()),
        "exp": int((now + lifetime).timestamp()),
    }
    if token.tenant_id is not None:
        claims["tenant"] = str(token.tenant_id)
    return jwt.encode(claims, secret, ALGORITHM)


def verify(text: str, *, secret: str, now: dt.datetime) -> AccessToken:
    """The claims of a token that we signed, for us, and that has not expired at `now`. Raises: Unauthenticated."""
    try:
        claims = jwt.decode(
            text, secret, algorithms=[ALGORITHM], audience=AUDIENCE, issuer=ISSUER,
            # The times are compared below, with the clock that the rest of the request uses.
            options={"require": ["exp", "iat", "sub", "iss", "aud"], "verify_exp": False, "verify_iat": False},
        )  # fmt: skip
        expires_at = int(claims["exp"])
        token = AccessToken(
            user_id=uuid.UUID(claims["sub"]),
            tenant_id=uuid.UUID(claims["tenant"]) if claims.get("tenant") else None,
        )
    except (jwt.InvalidTokenError, ValueError, TypeError, AttributeError) as error:
        raise Unauthenticated("the access token is not valid") from error
    if now.timestamp() >= expires_at:
        raise Unauthenticated("the access token has expired")
    return token


def new_api_key() -> str:
    """A secret of 256 bits, recognisable by its prefix to people and to secret scanners."""
    return API_KEY_PREFIX + secrets.token_urlsafe(32)


def api_key_hash(secret: str) -> str:
    """SHA-256 in hex: the secret has 256 bits of its own, so a slow hash would add nothing."""
    return hashlib.sha256(secret.encode()).hexdigest()
