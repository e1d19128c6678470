"""Request limits counted in Redis, shared by all processes."""

from __future__ import annotations

import datetime as dt
import hashlib
import uuid

from redis.asyncio import Redis

from serving.errors import TooManyRequests

WINDOW_SECONDS = 60


class RequestLimit:
    """So many requests a key or user and clock minute, over all processes.

    Permits are taken from Redis in small blocks, which saves most requests the round trip. A process that does not use
    up its block withholds the rest until the minute ends: the limit is never exceeded, at worst missed by one block
    for each process.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._blocks: dict[uuid.UUID, tuple[int, int]] = {}

    async def take(self, caller_id: uuid.UUID, limit: int, now: dt.datetime) -> None:
        """Raises: TooManyRequests until the next minute begins."""
        minute = int(now.timestamp()) // WINDOW_SECONDS
        held_minute, held = self._blocks.get(caller_id, (minute, 0))
        if held_minute == minute and held > 0:
            self._blocks[caller_id] = (minute, held - 1)
            return
        block = max(1, limit // 60)
        name = f"auth:requests:{caller_id}:{minute}"
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.incrby(name, block)
            pipe.expire(name, 2 * WINDOW_SECONDS)
            taken, _ = await pipe.execute()
        granted = min(block, limit - (taken - block))
        if granted <= 0:
            raise TooManyRequests(max(1, WINDOW_SECONDS - int(now.timestamp()) % WINDOW_SECONDS))
        # Other requests may have taken a block while this one waited for Redis.
        other_minute, other = self._blocks.get(caller_id, (minute, 0))
        self._blocks[caller_id] = (minute, granted - 1 + (other if other_minute == minute else 0))


class LoginLimit:
    """Attempts a name and an address may make in a window; each is counted before the password is looked at."""

    def __init__(self, redis: Redis, *, per_name: int, per_address: int, window_seconds: int) -> None:
        self._redis = redis
        self._limits = {"name": per_name, "address": per_address}
        self._window_seconds = window_seconds

    async def take(self, name: str, address: str) -> None:
        """Raises: TooManyRequests."""
        for kind, value in (("address", address), ("name", name)):
            key = _login_key(kind, value)
            async with self._redis.pipeline(transaction=True) as pipe:
                # SET NX rather than EXPIRE NX, which Redis 6 does not know.
                pipe.set(key, 0, ex=self._window_seconds, nx=True)
                pipe.incr(key)
                pipe.ttl(key)
                _, count, seconds = await pipe.execute()
            if count > self._limits[kind]:
                raise TooManyRequests(max(1, seconds), "too many login attempts")

    async def succeeded(self, name: str) -> None:
        """Forgets the name's attempts; those of the address stay counted."""
        await self._redis.delete(_login_key("name", name))


def _login_key(kind: str, value: str) -> str:
    # Hashed, so that what was typed (at times a password in the wrong field) is not kept.
    return f"auth:logins:{kind}:{hashlib.sha256(value.strip().lower().encode()).hexdigest()[:32]}"
