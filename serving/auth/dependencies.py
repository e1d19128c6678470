"""The caller, its rights and its session, as parameters of endpoints.

An endpoint declares what it does (`subject: ContactsWrite`); the alias admits the roles that may. `SessionDep` is one
transaction of the caller's tenant, committed after the endpoint returns and before the response leaves.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Coroutine, Iterator
from typing import Annotated, Any

from fastapi import Depends, Header, Request
from sqlalchemy.orm import Session

from serving.auth.authenticator import Authenticator
from serving.auth.caller import Caller, Role
from serving.auth.tokens import API_KEY_PREFIX
from serving.errors import Forbidden, Unauthenticated
from serving.kit.clock import NowDep, request_time, utc_now
from serving.kit.dependencies import DatabaseDep


async def _authenticator(request: Request) -> Authenticator:
    return request.app.state.authenticator  # type: ignore[no-any-return]


AuthenticatorDep = Annotated[Authenticator, Depends(_authenticator)]


async def current_caller(
    request: Request,
    authenticator: AuthenticatorDep,
    now: NowDep,
    authorization: Annotated[str | None, Header(include_in_schema=False)] = None,
    x_api_key: Annotated[str | None, Header()] = None,
    x_tenant: Annotated[str | None, Header(description="The slug of one of your tenants")] = None,
) -> Caller:
    """Found out once a request: later askers get the same. Raises: Unauthenticated, TenantNotFound, TenantNotChosen,
    TooManyRequests."""
    known: Caller | None = getattr(request.state, "caller", None)
    if known is not None:
        return known
    if x_api_key:
        caller = await authenticator.by_api_key(x_api_key, x_tenant, now)
    else:
        scheme, _, credentials = (authorization or "").partition(" ")
        credentials = credentials.strip()
        if scheme.lower() != "bearer" or not credentials:
            raise Unauthenticated
        if credentials.startswith(API_KEY_PREFIX):
            caller = await authenticator.by_api_key(credentials, x_tenant, now)
        else:
            caller = await authenticator.by_access_token(credentials, x_tenant, now)
    request.app.state.usage.count(caller.tenant_id, now)
    request.state.caller = caller
    return caller


async def known_caller(request: Request) -> tuple[Caller, dt.datetime]:
    """Who calls, and when, by the headers alone, as the dependencies of an endpoint find out. Raises: as
    `current_caller`."""
    overrides = request.app.dependency_overrides
    now = await overrides[request_time]() if request_time in overrides else utc_now()
    headers = request.headers
    caller = await current_caller(
        request,
        request.app.state.authenticator,
        now,
        headers.get("authorization"),
        headers.get("x-api-key"),
        headers.get("x-tenant"),
    )
    return caller, now


CallerDep = Annotated[Caller, Depends(current_caller)]


def at_least(role: Role) -> Callable[[Caller], Coroutine[Any, Any, Caller]]:
    async def caller_with_role(caller: CallerDep) -> Caller:
        if not caller.may(role):
            raise Forbidden(required_role=role.value)
        return caller

    return caller_with_role


def _session(caller: CallerDep, database: DatabaseDep) -> Iterator[Session]:
    with database.tenant(caller.tenant_id) as session:
        yield session


# scope="function": FastAPI leaves the generator, and so commits, before the response is sent. A client that has its 201
# finds the row; one whose commit failed gets the error.
SessionDep = Annotated[Session, Depends(_session, scope="function")]

_SALES = Depends(at_least(Role.SALES))
_MARKETER = Depends(at_least(Role.MARKETER))
_ADMIN = Depends(at_least(Role.ADMIN))

ContactsRead = Annotated[Caller, _SALES]
ContactsWrite = Annotated[Caller, _SALES]
ConversationsRead = Annotated[Caller, _SALES]
ConversationsWrite = Annotated[Caller, _SALES]
SegmentsRead = Annotated[Caller, _SALES]
SegmentsWrite = Annotated[Caller, _MARKETER]
CampaignsRead = Annotated[Caller, _SALES]
CampaignsWrite = Annotated[Caller, _MARKETER]
PredictionsRead = Annotated[Caller, _SALES]
AnalyticsRead = Annotated[Caller, _SALES]
WebhooksRead = Annotated[Caller, _MARKETER]
WebhooksWrite = Annotated[Caller, _ADMIN]
TenantRead = Annotated[Caller, _SALES]
TenantWrite = Annotated[Caller, _ADMIN]
