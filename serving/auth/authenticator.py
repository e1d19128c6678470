"""From a request's credentials to a Caller. What the database said is believed for at most `cache_seconds`."""

from __future__ import annotations

import datetime as dt
import uuid
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from fastapi.concurrency import run_in_threadpool
from redis.asyncio import Redis

from serving.auth import repository, tokens
from serving.auth.caller import Caller
from serving.auth.repository import KnownApiKey, KnownUser, Membership
from serving.auth.throttle import RequestLimit
from serving.errors import BadRequest, NotFound, Unauthenticated
from serving.kit.database import Database

CACHED_ENTRIES = 10_000


class TenantNotFound(NotFound):
    title = "You belong to no such tenant"


class TenantNotChosen(BadRequest):
    title = "You belong to several tenants: choose one with X-Tenant"


class Authenticator:
    def __init__(
        self, database: Database, redis: Redis, *, jwt_secret: str, cache_seconds: int, user_requests_per_minute: int
    ) -> None:
        self._database = database
        self._secret = jwt_secret
        self._keep = dt.timedelta(seconds=cache_seconds)
        self._limit = RequestLimit(redis)
        self._per_user = user_requests_per_minute
        self._cache: OrderedDict[Any, tuple[dt.datetime, Any]] = OrderedDict()

    async def by_api_key(self, secret: str, tenant_slug: str | None, now: dt.datetime) -> Caller:
        """Raises: Unauthenticated, TenantNotFound, TooManyRequests."""
        key_hash = tokens.api_key_hash(secret)
        key: KnownApiKey | None = await self._cached(
            key_hash, now, lambda: repository.find_api_key(self._database, key_hash, now)
        )
        if key is None or key.revoked_at is not None:
            raise Unauthenticated("the API key is not valid")
        if key.expires_at is not None and now >= key.expires_at:
            raise Unauthenticated("the API key has expired")
        if tenant_slug is not None and tenant_slug != key.tenant_slug:
            raise TenantNotFound
        await self._limit.take(key.key_id, key.rate_limit, now)
        return Caller(tenant_id=key.tenant_id, user_id=None, api_key_id=key.key_id, role=key.role)

    async def by_access_token(self, text: str, tenant_slug: str | None, now: dt.datetime) -> Caller:
        """Raises: Unauthenticated, TenantNotFound, TenantNotChosen, TooManyRequests."""
        token = tokens.verify(text, secret=self._secret, now=now)
        user = await self.user(token.user_id, now)
        member = choose_membership(user, tenant_slug=tenant_slug, tenant_id=token.tenant_id)
        await self._limit.take(user.user_id, self._per_user, now)
        return Caller(tenant_id=member.tenant_id, user_id=user.user_id, api_key_id=None, role=member.role)

    async def user(self, user_id: uuid.UUID, now: dt.datetime) -> KnownUser:
        """Raises: Unauthenticated when the user is gone or disabled."""
        user: KnownUser | None = await self._cached(user_id, now, lambda: repository.find_user(self._database, user_id))
        if user is None or not user.is_active:
            raise Unauthenticated("the user is not active")
        return user

    def forget(self) -> None:
        """Drops what this process remembers, so that a change made through it shows at once."""
        self._cache.clear()

    async def _cached(self, key: Any, now: dt.datetime, load: Callable[[], Any]) -> Any:
        held = self._cache.get(key)
        if held is not None and now < held[0]:
            return held[1]
        value = await run_in_threadpool(load)
        # Nothing is remembered of credentials nobody has: a flood of guesses must not push real ones out.
        if value is not None:
            self._cache[key] = (now + self._keep, value)
            self._cache.move_to_end(key)
            if len(self._cache) > CACHED_ENTRIES:
                self._cache.popitem(last=False)
        return value


def choose_membership(user: KnownUser, *, tenant_slug: str | None, tenant_id: uuid.UUID | None) -> Membership:
    """The tenant named by slug, else by the token, else the only one. Raises: TenantNotFound, TenantNotChosen."""
    candidates = user.memberships
    if tenant_slug is not None:
        candidates = tuple(member for member in candidates if member.tenant_slug == tenant_slug)
    elif tenant_id is not None:
        candidates = tuple(member for member in candidates if member.tenant_id == tenant_id)
    if not candidates:
        raise TenantNotFound
    if len(candidates) > 1:
        raise TenantNotChosen
    return candidates[0]
