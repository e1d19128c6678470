"""Workers killed at any moment, answers lost, people opting out: nobody gets a message twice or after their opt-out."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from serving.consent.service import ConsentChange, record_consents
from serving.kit.clock import utc_now

ROOT = Path(__file__).parents[3]
MESSAGES, WORKERS, SEED = 300, 3, 11


@pytest.mark.slow
def test_killed_workers_send_nothing_twice_and_nothing_after_an_opt_out(database, outbox, cloud_api, worker_database):
    chance, guard = random.Random(SEED), threading.Lock()
    ids = outbox.add(MESSAGES)
    arrived: dict[str, list[float]] = {}

    def answer(body):
        with guard:
            arrived.setdefault(body["biz_opaque_callback_data"], []).append(time.time())
            lost, delay = chance.random() < 0.03, chance.uniform(0.0, 0.08)
        time.sleep(delay)
        return "hang up" if lost else None  # the message arrived, its answer did not

    cloud_api.answer = answer
    command = [sys.executable, str(Path(__file__).with_name("chaos_worker.py")), database.worker, cloud_api.base_url]
    command += [str(outbox.tenant_id), "key"]

    def start() -> subprocess.Popen:
        return subprocess.Popen(command, cwd=ROOT, env={"PYTHONPATH": str(ROOT), "PATH": ""})

    workers = [start() for _ in range(WORKERS)]
    opted_out: dict[str, float] = {}
    deadline, kills = time.monotonic() + 60, 0
    try:
        while time.monotonic() < deadline:
            states = outbox.states()
            if states["queued"] + states["sending"] == 0:
                break
            time.sleep(chance.uniform(0.1, 0.5))
            if arrived and kills < 12:
                index = chance.randrange(WORKERS)
                workers[index].kill()
                workers[index].wait()
                workers[index] = start()
                kills += 1
            message_id = chance.choice(ids)
            if arrived and str(message_id) not in opted_out:
                contact_id = outbox.one("SELECT contact_id FROM outbound_messages WHERE id = %s", message_id)[0]
                now = utc_now()
                with worker_database.tenant(outbox.tenant_id) as session:
                    change = ConsentChange(contact_id, f"stop:{message_id}", "opted_out", now, now, "test")
                    record_consents(session, outbox.tenant_id, [change], now, "key")
                opted_out[str(message_id)] = time.time()
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    states = outbox.states()
    assert states["queued"] + states["sending"] == 0, states
    assert sum(states.values()) == MESSAGES
    assert kills >= 3
    assert [message_id for message_id, times in arrived.items() if len(times) > 1] == []
    # A request that a killed worker had sent may be read by the server a moment later.
    late = [key for key, at in opted_out.items() if any(moment > at + 0.2 for moment in arrived.get(key, ()))]
    assert late == []
    recorded = {str(row[0]) for row in outbox.all("SELECT id FROM messages WHERE tenant_id = %s", outbox.tenant_id)}
    assert recorded <= arrived.keys()
    print(f"kills {kills}, arrived {len(arrived)}, opted out {len(opted_out)}, states {dict(states)}")
