"""Logging in."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from fastapi.concurrency import run_in_threadpool

from serving.auth import repository, tokens
from serving.auth.authenticator import choose_membership
from serving.auth.passwords import PasswordVerifier
from serving.auth.throttle import LoginLimit
from serving.auth.tokens import AccessToken
from serving.errors import Forbidden, Unauthenticated
from serving.kit.database import Database


@dataclass(frozen=True, slots=True)
class Grant:
    access_token: str
    tenants: list[str]


class LoginService:
    def __init__(
        self,
        database: Database,
        limit: LoginLimit,
        verifier: PasswordVerifier,
        *,
        jwt_secret: str,
        lifetime: dt.timedelta,
    ) -> None:
        self._database = database
        self._limit = limit
        self._verifier = verifier
        self._secret = jwt_secret
        self.lifetime = lifetime

    async def login(
        self, name: str, password: str, *, address: str, tenant_slug: str | None, now: dt.datetime
    ) -> Grant:
        """An access token for the tenant named by slug, or for the user's only one.

        Raises: TooManyRequests, Unauthenticated (the same for an unknown name, a wrong password and a disabled user),
        Unavailable, Forbidden for a user of no tenant, TenantNotFound.
        """
        await self._limit.take(name, address)
        found = await run_in_threadpool(repository.find_login, self._database, name)
        right = await self._verifier.verify(found.password_hash if found else None, password)
        if found is None or not right or not found.is_active:
            raise Unauthenticated("the user name or the password is wrong")
        await self._limit.succeeded(name)
        user = await run_in_threadpool(repository.find_user, self._database, found.user_id)
        if user is None or not user.memberships:
            raise Forbidden("you belong to no tenant")
        tenant_id = None
        if tenant_slug is not None:
            tenant_id = choose_membership(user, tenant_slug=tenant_slug, tenant_id=None).tenant_id
        elif len(user.memberships) == 1:
            tenant_id = user.memberships[0].tenant_id
        token = tokens.issue(AccessToken(user.user_id, tenant_id), secret=self._secret, now=now, lifetime=self.lifetime)
        return Grant(token, [member.tenant_slug for member in user.memberships])
