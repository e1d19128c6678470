from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Header, Request
from fastapi.security import OAuth2PasswordRequestForm

from serving.auth.dependencies import AuthenticatorDep, CallerDep
from serving.auth.route import Route
from serving.auth.schemas import LoginRequest, MembershipRead, MeRead, TokenRead
from serving.auth.service import LoginService
from serving.errors import TooManyRequests, Unauthenticated, Unavailable, problems
from serving.kit.clock import NowDep

router = APIRouter(prefix="/auth", tags=["auth"], route_class=Route)
LOGIN_PROBLEMS = problems(Unauthenticated, TooManyRequests, Unavailable)
TenantSlug = Annotated[str | None, Header(alias="X-Tenant", description="The slug of the tenant to log in to")]


async def _login_service(request: Request) -> LoginService:
    return request.app.state.login  # type: ignore[no-any-return]


LoginServiceDep = Annotated[LoginService, Depends(_login_service)]


@router.post("/login", responses=LOGIN_PROBLEMS)
async def login(
    request: Request,
    form: Annotated[OAuth2PasswordRequestForm, Depends()],
    service: LoginServiceDep,
    now: NowDep,
    tenant: TenantSlug = None,
) -> TokenRead:
    """An access token for a user name and password sent as a form (OAuth 2 password grant)."""
    return await _login(request, service, form.username, form.password, tenant, now)


@router.post("/login-json", responses=LOGIN_PROBLEMS)
async def login_json(
    request: Request, body: LoginRequest, service: LoginServiceDep, now: NowDep, tenant: TenantSlug = None
) -> TokenRead:
    """An access token for a user name and password sent as JSON."""
    return await _login(request, service, body.username, body.password, tenant, now)


async def _login(
    request: Request, service: LoginService, name: str, password: str, tenant: str | None, now: NowDep
) -> TokenRead:
    address = request.client.host if request.client else "unknown"
    grant = await service.login(name, password[:1024], address=address, tenant_slug=tenant, now=now)
    return TokenRead(
        access_token=grant.access_token,
        expires_in_seconds=int(service.lifetime.total_seconds()),
        tenants=grant.tenants,
    )


@router.get("/me", responses=problems(Unauthenticated))
async def me(caller: CallerDep, authenticator: AuthenticatorDep, now: NowDep) -> MeRead:
    """Who the credentials belong to, and for which tenant they act."""
    read = MeRead(tenant_id=caller.tenant_id, role=caller.role, user_id=caller.user_id, api_key_id=caller.api_key_id)
    if caller.user_id is None:
        return read
    user = await authenticator.user(caller.user_id, now)
    tenants = [MembershipRead(tenant_id=m.tenant_id, slug=m.tenant_slug, role=m.role) for m in user.memberships]
    return read.model_copy(update={"username": user.username, "email": user.email, "tenants": tenants})
