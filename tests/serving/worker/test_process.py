"""The worker as `deploy/Procfile` starts it: a real Celery process over a real Redis and PostgreSQL."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import psycopg
import pytest
from redis import Redis

from serving.kit.clock import utc_now
from serving.worker import tasks
from serving.worker.wake import DISPATCH, INBOUND, Wake, mark

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def process(database, settings, redis_url, tmp_path_factory):
    home = tmp_path_factory.mktemp("worker")
    environment = {
        "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "RAPPORT_HOME": str(home),
        "SERVING_DATABASE_URL": database.app,
        "SERVING_WORKER_DATABASE_URL": database.worker, "SERVING_REDIS_URL": redis_url, "SERVING_JWT_SECRET": "unused",
        "SERVING_PHONE_HMAC_KEY": settings.phone_hmac_key.get_secret_value(), "SERVING_SWEEP_SECONDS": "1",
    }  # fmt: skip
    command = [
        sys.executable,
        "-m",
        "celery",
        "-A",
        "serving.worker.app",
        "worker",
        "--beat",
        "--concurrency",
        "2",
        "--loglevel",
        "INFO",
    ]
    with (home / "log").open("wb") as log:
        worker = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
    yield worker, home / "log"
    if worker.poll() is None:
        worker.kill()
        worker.wait()


def receive(database, tenant_id, wamid: str) -> None:
    item = {"id": wamid, "from": "999100000041", "timestamp": "1770000000", "type": "text", "text": {"body": "hello"}}
    payload = {"field": "messages", "value": {"metadata": {"phone_number_id": "1"}, "contacts": [], "messages": [item]}}
    with psycopg.connect(database.admin) as connection:
        connection.execute(
            "INSERT INTO inbound_events (tenant_id, event_key, kind, provider_number_id, occurred_at, received_at,"
            " payload)"
            " VALUES (%s, %s, 'message', '1', now(), now(), %s)",
            (tenant_id, wamid, json.dumps(payload)),
        )


def processed_within(database, tenant_id, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with psycopg.connect(database.admin) as connection:
            (left,) = connection.execute(
                "SELECT count(*) FROM inbound_events WHERE tenant_id = %s AND processed_at IS NULL", (tenant_id,)
            ).fetchone()
        if left == 0:
            return True
        time.sleep(0.1)
    return False


class TestProcess:
    def test_a_wake_up_is_followed(self, process, database, redis_url):
        tenant_id = database.add_tenant()
        receive(database, tenant_id, "w.woken")
        Wake(redis_url).inbound([tenant_id], utc_now())
        assert processed_within(database, tenant_id, 30), process[1].read_text()

    def test_work_that_woke_nobody_is_found_by_the_sweeper(self, process, database):
        tenant_id = database.add_tenant()
        receive(database, tenant_id, "w.unwoken")
        assert processed_within(database, tenant_id, 30), process[1].read_text()

    def test_it_stops_on_sigterm(self, process):
        worker, log = process
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(timeout=20) == 0, log.read_text()


class TestWake:
    def test_only_one_task_is_queued_until_it_ran(self, redis_url):
        redis, tenant_id = Redis.from_url(redis_url), uuid.uuid4()
        redis.delete("celery")
        wake = Wake(redis_url)
        for _ in range(50):
            wake.inbound([tenant_id], utc_now())
        wake.dispatch([tenant_id], utc_now())
        assert redis.llen("celery") == 2
        assert redis.exists(mark(INBOUND, tenant_id), mark(DISPATCH, tenant_id)) == 2
        redis.delete("celery")

    def test_without_redis_nobody_is_woken_and_nothing_is_raised(self):
        started = time.monotonic()
        wake = Wake("redis://127.0.0.1:1/0")
        for _ in range(100):
            wake.inbound([uuid.uuid4()], utc_now())
        assert time.monotonic() - started < 3


def test_tasks_are_registered_under_the_names_they_are_woken_by():
    assert {tasks.process.name, tasks.dispatch.name, tasks.sweep.name} == {INBOUND, DISPATCH, "sweep"}
