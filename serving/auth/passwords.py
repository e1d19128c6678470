"""Password hashing: argon2id, a few at a time, in constant time for names that do not exist."""

from __future__ import annotations

import anyio
import anyio.to_thread
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from serving.errors import Unavailable

HASHER = PasswordHasher(memory_cost=19456, time_cost=2, parallelism=1)
# A hash nobody knows the password of, so that an unknown name costs as much time as a wrong password.
_NOBODY = HASHER.hash("no password: this name does not exist")


def hash_password(password: str) -> str:
    return HASHER.hash(password)


def verify(password_hash: str | None, password: str) -> bool:
    try:
        HASHER.verify(password_hash or _NOBODY, password)
    except (VerificationError, InvalidHashError):
        return False
    return password_hash is not None


class PasswordVerifier:
    """Verifies at most `concurrent` passwords at once (19 MiB each) and lets `waiting` more queue up."""

    def __init__(self, *, concurrent: int, waiting: int) -> None:
        self._limiter = anyio.CapacityLimiter(concurrent)
        self._waiting = waiting

    async def verify(self, password_hash: str | None, password: str) -> bool:
        """Raises: Unavailable when too many wait already."""
        if self._limiter.statistics().tasks_waiting >= self._waiting:
            raise Unavailable("too many logins at once")
        return await anyio.to_thread.run_sync(verify, password_hash, password, limiter=self._limiter)
