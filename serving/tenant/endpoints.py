from __future__ import annotations

import uuid
from typing import Annotated

from fastapi import APIRouter, Depends, Response

from serving.auth.authenticator import TenantNotFound
from serving.auth.caller import Caller
from serving.auth.dependencies import AuthenticatorDep, SessionDep, TenantWrite
from serving.auth.route import Route
from serving.errors import Forbidden, Unprocessable, problems
from serving.kit.clock import NowDep
from serving.models import ApiKey
from serving.tenant import service
from serving.tenant.schemas import ApiKeyCreate, ApiKeyCreated, ApiKeyRead
from serving.tenant.service import ApiKeyNotFound

router = APIRouter(prefix="/tenants", tags=["tenants"], route_class=Route)


async def _own_tenant(id: uuid.UUID, caller: TenantWrite) -> Caller:
    """The caller, when the path names its own tenant. Raises: TenantNotFound."""
    if id != caller.tenant_id:
        raise TenantNotFound
    return caller


OwnTenantWrite = Annotated[Caller, Depends(_own_tenant)]


@router.post("/{id}/api-keys", status_code=201, responses=problems(Forbidden, TenantNotFound, Unprocessable))
def create_api_key(body: ApiKeyCreate, caller: OwnTenantWrite, session: SessionDep, now: NowDep) -> ApiKeyCreated:
    """A new key; its secret is shown this once."""
    created = service.create_api_key(
        session,
        caller,
        name=body.name,
        role=body.access,
        rate_limit=body.rate_limit,
        expires_at=body.expires_at,
        now=now,
    )
    read = ApiKeyRead.model_validate(created.key)
    return ApiKeyCreated(**read.model_dump(), secret=created.secret)


@router.get("/{id}/api-keys", response_model=list[ApiKeyRead], responses=problems(Forbidden, TenantNotFound))
def list_api_keys(_caller: OwnTenantWrite, session: SessionDep) -> list[ApiKey]:
    """The tenant's keys, oldest first, revoked ones included."""
    return service.list_api_keys(session)


@router.delete(
    "/{id}/api-keys/{key_id}", status_code=204, responses=problems(Forbidden, TenantNotFound, ApiKeyNotFound)
)
def revoke_api_key(
    key_id: uuid.UUID, _caller: OwnTenantWrite, session: SessionDep, authenticator: AuthenticatorDep, now: NowDep
) -> Response:
    """Ends a key, in every process within a minute."""
    service.revoke_api_key(session, key_id, now)
    authenticator.forget()
    return Response(status_code=204)
