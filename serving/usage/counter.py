"""API calls by tenant and UTC day, counted in the process and flushed to Redis in batches: no request waits or writes.

A process that is killed loses what it counted since its last flush, at most FLUSH_SECONDS of calls (more while Redis is
away: then they wait in memory). No call is counted twice: a batch whose answer was lost is sent again under its name,
and Redis adds a batch of one name once.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import logging
import uuid
from collections import Counter
from collections.abc import AsyncIterator

from redis.asyncio import Redis
from redis.exceptions import RedisError

log = logging.getLogger(__name__)

FLUSH_SECONDS = 2.0
# A hash: "{UTC date}:{tenant}" to the calls that no move has taken yet.
CALLS = "usage:calls"
# How long a batch's name is remembered; a batch is repeated within seconds, or when Redis is back.
_NAME_SECONDS = 86_400
_ADD_ONCE = """
if redis.call('SET', KEYS[2], 1, 'NX', 'EX', ARGV[1]) then
    for i = 2, #ARGV, 2 do redis.call('HINCRBY', KEYS[1], ARGV[i], ARGV[i + 1]) end
    return 1
end
return 0
"""


class CallCounter:
    """One of a process. Not for threads: `count` and `flush` run on the event loop."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._counts: Counter[tuple[dt.date, uuid.UUID]] = Counter()
        self._batch: tuple[str, list[str | int]] | None = None

    def count(self, tenant_id: uuid.UUID, now: dt.datetime) -> None:
        self._counts[now.date(), tenant_id] += 1

    async def flush(self) -> None:
        """Hands over what was counted. Raises redis' errors, and then keeps it for the next time."""
        if self._batch is None:
            if not self._counts:
                return
            taken, self._counts = self._counts, Counter()
            fields: list[str | int] = []
            for (date, tenant_id), calls in taken.items():
                fields += [f"{date}:{tenant_id}", calls]
            self._batch = (f"usage:batch:{uuid.uuid4()}", fields)
        name, fields = self._batch
        await self._redis.eval(_ADD_ONCE, 2, CALLS, name, _NAME_SECONDS, *fields)
        self._batch = None

    async def flush_quietly(self) -> None:
        try:
            await self.flush()
        except (RedisError, OSError) as error:
            log.warning("usage.waits", extra={"error": type(error).__name__})


@contextlib.asynccontextmanager
async def flushing(counter: CallCounter, seconds: float = FLUSH_SECONDS) -> AsyncIterator[CallCounter]:
    """Flushes every so many seconds, and once more at the end."""

    async def loop() -> None:
        while True:
            await asyncio.sleep(seconds)
            await counter.flush_quietly()

    task = asyncio.create_task(loop())
    try:
        yield counter
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        # Twice: a batch that was under way when the loop ended, and what was counted after it.
        await counter.flush_quietly()
        await counter.flush_quietly()
