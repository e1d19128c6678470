from __future__ import annotations

import uuid
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from serving.auth.caller import Role

Password = Annotated[str, Field(min_length=1, max_length=256)]


class LoginRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    username: Annotated[str, Field(min_length=1, max_length=320, description="User name or e-mail address")]
    password: Password


class TokenRead(BaseModel):
    """`tenants` are the slugs to choose from with X-Tenant; the token itself names a tenant when there is only one."""

    access_token: str
    token_type: str = "bearer"  # noqa: S105 - the scheme's name
    expires_in_seconds: int
    tenants: list[str]


class MembershipRead(BaseModel):
    tenant_id: uuid.UUID
    slug: str
    role: Role


class MeRead(BaseModel):
    """The caller. `user_id`, `username` and `email` are null for an API key, which has one tenant."""

    tenant_id: uuid.UUID
    role: Role
    user_id: uuid.UUID | None
    api_key_id: uuid.UUID | None
    username: str | None = None
    email: str | None = None
    tenants: list[MembershipRead] = []
