"""One worker for the chaos test: claims and sends until it is killed. Arguments: database URL, API URL, tenant,
batch."""

from __future__ import annotations

import random
import sys
import time
import uuid

from pydantic import SecretStr

from gateway.settings import GatewaySettings
from serving.kit.clock import utc_now
from serving.kit.database import Database
from serving.sending.drivers import Drivers
from serving.sending.pacing import Unpaced
from serving.sending.service import Sender
from serving.settings import Settings


def main() -> None:
    url, api, tenant, key = sys.argv[1:]
    settings = Settings(
        database_url=url, worker_database_url=url, redis_url="redis://127.0.0.1:1", jwt_secret=SecretStr("unused"),
        phone_hmac_key=SecretStr(key), send_batch_size=10, send_lease_seconds=3,
    )  # fmt: skip
    drivers = Drivers(GatewaySettings(base_url=api, access_token=SecretStr("token"), timeout_seconds=1.0))
    sender = Sender(Database(url, pool_size=2), settings, drivers, Unpaced(), utc_now, random.Random())
    while True:
        sender.dispatch(uuid.UUID(tenant))
        time.sleep(0.05)


main()
