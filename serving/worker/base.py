"""What a worker process holds: made at its first task, after the fork, and closed when it ends."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import lru_cache

from celery.signals import worker_process_shutdown
from redis import Redis

from serving.kit.clock import utc_now
from serving.kit.database import Database
from serving.sending.drivers import Drivers
from serving.sending.pacing import Pacer
from serving.sending.service import Sender
from serving.settings import Settings, settings
from serving.worker.wake import Wake


@dataclass(frozen=True)
class Worker:
    settings: Settings
    database: Database
    sender: Sender
    wake: Wake
    redis: Redis


@lru_cache
def worker() -> Worker:
    """This process's database (role worker), sender and wake-ups."""
    configured = settings()
    database = Database(configured.worker_database_url, pool_size=2)
    redis = Redis.from_url(configured.redis_url, socket_timeout=2.0, socket_connect_timeout=1.0)
    sender = Sender(database, configured, Drivers(), Pacer(redis), utc_now, random.Random())
    return Worker(configured, database, sender, Wake(configured.redis_url), redis)


@worker_process_shutdown.connect
def _close(**_: object) -> None:
    if worker.cache_info().currsize:
        held = worker()
        held.sender.drivers.close()
        held.wake.close()
        held.redis.close()
        held.database.dispose()
