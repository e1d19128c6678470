"""One worker of the send path's chaos test: applies the inbox and sends what is due until it is killed.

Faster to restart than Celery, and several send for one tenant at once, which Celery's wake-ups allow only after a stop.
Everything below the task is the product's. Argument: the tenant.
"""

from __future__ import annotations

import random
import sys
import time
import uuid

from redis import Redis

from serving.conversation.service import process_inbound
from serving.kit.clock import utc_now
from serving.kit.database import Database
from serving.sending.drivers import Drivers
from serving.sending.pacing import Pacer
from serving.sending.service import Sender
from serving.settings import Settings


def main() -> None:
    settings, tenant = Settings(), uuid.UUID(sys.argv[1])
    redis = Redis.from_url(settings.redis_url, socket_timeout=2.0)
    database = Database(settings.worker_database_url, pool_size=2)
    sender = Sender(database, settings, Drivers(), Pacer(redis), utc_now, random.Random())
    while True:
        process_inbound(database, tenant, utc_now())
        sender.dispatch(tenant, patience_seconds=1.0)
        time.sleep(0.05)


main()
