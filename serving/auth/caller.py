"""Who is calling, and what a role may do."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """Rights grow with rank: whatever sales may do, a marketer may, and an admin may do everything of the tenant."""

    SALES = "sales"
    MARKETER = "marketer"
    ADMIN = "admin"

    @property
    def rank(self) -> int:
        return _RANKS[self]


_RANKS = {role: rank for rank, role in enumerate(Role)}


@dataclass(frozen=True, slots=True)
class Caller:
    """A user or an API key, acting for one tenant. Exactly one of `user_id` and `api_key_id` is set."""

    tenant_id: uuid.UUID
    user_id: uuid.UUID | None
    api_key_id: uuid.UUID | None
    role: Role

    def may(self, role: Role) -> bool:
        return self.role.rank >= role.rank
