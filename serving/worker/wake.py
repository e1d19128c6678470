"""Waking the workers: after a commit, at most one task in flight for each tenant and kind of work.

A wake-up that is lost, with Redis or otherwise, costs time and no message: the sweeper reads PostgreSQL.
"""

from __future__ import annotations

import datetime as dt
import logging
import uuid
from collections.abc import Iterable

from celery import Celery
from redis import Redis
from redis.exceptions import RedisError

log = logging.getLogger(__name__)

INBOUND = "inbound.process"
DISPATCH = "sending.dispatch"
# Longer than one step of a task's loop, so that a running task keeps its mark; short, so that a killed one's fades.
MARK_SECONDS = 30
_BREAK_SECONDS = 5.0


class Wake:
    """Enqueues tasks by name. Never raises for a broker that is away, and then leaves it alone for some seconds."""

    def __init__(self, redis_url: str) -> None:
        self._redis = Redis.from_url(redis_url, socket_timeout=1.0, socket_connect_timeout=0.5)
        self._celery = Celery("rapport", broker=redis_url, set_as_current=False)
        self._celery.conf.broker_transport_options = {"socket_connect_timeout": 0.5, "socket_timeout": 1.0}
        self._silent_until: dt.datetime | None = None

    def inbound(self, tenant_ids: Iterable[uuid.UUID], now: dt.datetime) -> None:
        for tenant_id in tenant_ids:
            self._wake(INBOUND, tenant_id, now)

    def dispatch(self, tenant_ids: Iterable[uuid.UUID], now: dt.datetime) -> None:
        for tenant_id in tenant_ids:
            self._wake(DISPATCH, tenant_id, now)

    def keep(self, task: str, tenant_id: uuid.UUID) -> None:
        """Tells that the tenant's task is still at work."""
        try:
            self._redis.set(mark(task, tenant_id), 1, ex=MARK_SECONDS)
        except (RedisError, OSError) as error:
            log.warning("wake.unavailable", extra={"error": type(error).__name__})

    def release(self, task: str, tenant_id: uuid.UUID) -> None:
        """From here on, new work enqueues a task again. The task looks once more after calling this."""
        try:
            self._redis.delete(mark(task, tenant_id))
        except (RedisError, OSError) as error:
            log.warning("wake.unavailable", extra={"error": type(error).__name__})

    def close(self) -> None:
        self._redis.close()
        self._celery.close()

    def _wake(self, task: str, tenant_id: uuid.UUID, now: dt.datetime) -> None:
        if self._silent_until is not None and now < self._silent_until:
            return
        try:
            if self._redis.set(mark(task, tenant_id), 1, ex=MARK_SECONDS, nx=True):
                self._celery.send_task(task, args=[str(tenant_id)], retry=False)
        except Exception as error:  # Celery wraps a broker's failure in several classes of its own
            log.warning("wake.unavailable", extra={"error": type(error).__name__})
            self._silent_until = now + dt.timedelta(seconds=_BREAK_SECONDS)


def mark(task: str, tenant_id: uuid.UUID) -> str:
    return f"wake:{task}:{tenant_id}"
