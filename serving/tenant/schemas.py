from __future__ import annotations

import datetime as dt
import uuid
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from serving.auth.caller import Role


class ApiKeyCreate(BaseModel):
    """`access` names the key's rights; `rate_limit` is in requests per minute."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=100)]
    access: Role = Role.SALES
    rate_limit: Annotated[int, Field(ge=1, le=1_000_000)] = 600
    expires_at: AwareDatetime | None = None


class ApiKeyRead(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: uuid.UUID
    name: str
    key_prefix: str
    role: Role
    rate_limit: int
    created_at: dt.datetime
    last_used: dt.datetime | None
    expires_at: dt.datetime | None
    revoked_at: dt.datetime | None


class ApiKeyCreated(ApiKeyRead):
    """`secret` is shown this once."""

    secret: str
