"""What the send path's chaos test disturbs: a simulator, the API and several workers, each a process of its own."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg
from redis import Redis

ROOT = Path(__file__).parents[2]
SECRET, TOKEN, NUMBER = "app-secret", "token", "100000000000001"
PAYLOAD = {"kind": "template", "text": "Hello", "template_name": "weekly_offer", "template_language": "en"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(look: Callable[[], object], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.1)


@dataclass
class System:
    """`people` phones (E.164) each have one message due, of one campaign of one tenant."""

    database: Any
    redis_url: str
    folder: Path
    people: int
    connections: int
    answer_seconds: float
    lease_seconds: int
    seed: int
    tenant_id: uuid.UUID = field(default_factory=uuid.uuid4)
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.simulator_url = f"http://127.0.0.1:{free_port()}"
        self.api_url = f"http://127.0.0.1:{free_port()}"
        self.environment = {
            "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "RAPPORT_HOME": str(self.folder),
            "SERVING_DATABASE_URL": self.database.app, "SERVING_WORKER_DATABASE_URL": self.database.worker,
            "SERVING_REDIS_URL": self.redis_url, "SERVING_JWT_SECRET": "unused", "SERVING_PHONE_HMAC_KEY": "key",
            "SERVING_LOG_LEVEL": "WARNING", "SERVING_SEND_LEASE_SECONDS": str(self.lease_seconds),
            "GATEWAY_BASE_URL": self.simulator_url, "GATEWAY_ACCESS_TOKEN": TOKEN, "GATEWAY_APP_SECRET": SECRET,
            "GATEWAY_MAX_CONNECTIONS": str(self.connections), "GATEWAY_PHONE_NUMBER_ID": NUMBER,
        }  # fmt: skip

    def start(self, name: str, *command: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("ab") as log:
            started = subprocess.Popen(
                [sys.executable, *command], cwd=ROOT, env=self.environment, stdout=log, stderr=log
            )
        self.processes.append(started)
        return started

    def start_worker(self) -> subprocess.Popen[bytes]:
        script = Path(__file__).with_name("sending_worker.py")
        return self.start("worker", str(script), str(self.tenant_id))

    def start_servers(self) -> None:
        options = {
            "port": self.simulator_url.rsplit(":", 1)[1], "state-dir": self.folder / "simulator",
            "webhook-url": f"{self.api_url}/api/v1/webhooks/whatsapp", "app-secret": SECRET, "access-token": TOKEN,
            "verify-token": "verify", "phone-number-id": NUMBER, "people": self.people, "seed": self.seed,
            "answer-seconds": self.answer_seconds, "proxy-errors": 0.03,
        }  # fmt: skip
        arguments = [part for name, value in options.items() for part in (f"--{name}", str(value))]
        self.start("simulator", "-m", "gateway.simulator", *arguments)
        port = self.api_url.rsplit(":", 1)[1]
        self.start("api", "-m", "serving", "--port", port)
        for url in (f"{self.simulator_url}/simulator/health", f"{self.api_url}/"):
            wait_for(lambda url=url: _answers(url), 60)

    def queue(self) -> None:
        """One message to each simulated person, all of whom opted in."""
        phones = [row["phone"] for row in httpx.get(f"{self.simulator_url}/simulator/people", timeout=30).json()]
        self.tenant_id = self.database.add_tenant(settings=json.dumps({"quiet_hours": {"start": 0, "end": 0}}))
        number_id, campaign_id = self.database.add_number(self.tenant_id, NUMBER), uuid.uuid4()
        contacts = [uuid.uuid4() for _ in phones]
        tenant, payload = self.tenant_id, json.dumps(PAYLOAD)
        with psycopg.connect(self.database.admin) as connection, connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO campaigns (tenant_id, id, name, status, message_template) VALUES"
                " (%s, %s, 'Autumn', 'running', 'Hi')", (tenant, campaign_id),
            )  # fmt: skip
            cursor.executemany(
                "INSERT INTO contacts (tenant_id, id, phone) VALUES (%s, %s, %s)",
                [(tenant, contact, phone) for contact, phone in zip(contacts, phones, strict=True)],
            )
            cursor.executemany(
                "INSERT INTO consents (tenant_id, contact_id, status, effective_at, source)"
                " VALUES (%s, %s, 'opted_in', now() - interval '1 day', 'test')",
                [(tenant, contact) for contact in contacts],
            )
            cursor.executemany(
                "INSERT INTO outbound_messages (tenant_id, id, campaign_id, contact_id, phone_number_id, payload,"
                " payload_hash, due_at) VALUES (%s, %s, %s, %s, %s, %s, 'hash', now())",
                [(tenant, uuid.uuid4(), campaign_id, contact, number_id, payload) for contact in contacts],
            )

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """The rows of a query about this tenant, which `%s` stands for."""
        with psycopg.connect(self.database.admin) as connection:
            return connection.execute(query, (self.tenant_id,)).fetchall()

    def states(self) -> dict[str, int]:
        return dict(self.rows("SELECT state, count(*) FROM outbound_messages WHERE tenant_id = %s GROUP BY 1"))

    def under_way(self) -> list[str]:
        """Phones whose message is marked and unanswered."""
        return [phone for (phone,) in self.rows(
            "SELECT c.phone FROM outbound_messages o JOIN contacts c ON c.id = o.contact_id"
            " WHERE o.tenant_id = %s AND o.state = 'sending'"
        )]  # fmt: skip

    def say_stop(self, phone: str) -> None:
        answer = httpx.post(f"{self.simulator_url}/simulator/say", json={"phone": phone, "text": "STOP"}, timeout=30)
        assert answer.status_code == 201

    def flush_redis(self) -> None:
        Redis.from_url(self.redis_url).flushall()

    def ledger(self) -> list[tuple[str, dt.datetime]]:
        """(phone, moment at which the request had arrived) of every send that the simulator took."""
        lines = httpx.get(f"{self.simulator_url}/simulator/truth/sends", timeout=60).text.splitlines()
        return [(row["phone"], dt.datetime.fromisoformat(row["sent_at"])) for row in map(json.loads, lines)]

    def owes_nothing(self) -> bool:
        """Whether every webhook was taken and applied."""
        status = httpx.get(f"{self.simulator_url}/simulator/status", timeout=30).json()
        waiting = "SELECT count(*) FROM inbound_events WHERE tenant_id = %s AND processed_at IS NULL AND attempts = 0"
        return status["pending"] == 0 and self.rows(waiting) == [(0,)]

    def close(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(signal.SIGCONT)
                process.kill()
                process.wait()


@contextlib.contextmanager
def running(system: System) -> Iterator[System]:
    try:
        system.start_servers()
        system.queue()
        yield system
    finally:
        system.close()


@dataclass
class Disturbance:
    """Kills, stops and opt-outs, spread over the run by chance. `stop_seconds` are the shortest and longest stop."""

    system: System
    kills: int
    stops: int
    opt_outs: int
    stop_seconds: tuple[float, float]
    chance: random.Random
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    stopped: dict[int, float] = field(default_factory=dict)
    opted_out: set[str] = field(default_factory=set)
    in_flight: list[int] = field(default_factory=list)
    """Messages that were marked and unanswered in all workers at each kill."""

    def run(self, workers: int, seconds: float) -> None:
        """Disturbs until everything asked for was done and nothing is left to send."""
        phones = [phone for (phone,) in self.system.rows("SELECT phone FROM contacts WHERE tenant_id = %s")]
        self.workers = [self.system.start_worker() for _ in range(workers)]
        self.stopped = {}
        deadline = time.monotonic() + seconds
        kills, stops, flushes = self.kills, self.stops, 3
        while self.stopped or kills or stops or self._is_left():
            assert time.monotonic() < deadline, (self.system.states(), kills, stops)
            time.sleep(self.chance.uniform(0.1, 1.0))
            self._resume()
            under_way = self.system.under_way()
            if not under_way:
                continue
            choice = self.chance.random()
            if stops and choice < 0.3 and len(self.stopped) < workers - 1:
                self._stop_one()
                stops -= 1
                self._opt_out(self.chance.sample(under_way, min(8, len(under_way))))
            elif kills and choice < 0.7:
                self.in_flight.append(len(under_way))
                self._kill_one()
                kills -= 1
            elif flushes and choice < 0.75:
                self.system.flush_redis()
                flushes -= 1
            self._opt_out(self.chance.sample(phones, 3) + self.chance.sample(under_way, 1))

    def _is_left(self) -> bool:
        states = self.system.states()
        return bool(states.get("queued", 0) + states.get("sending", 0))

    def _opt_out(self, phones: list[str]) -> None:
        for phone in phones:
            if len(self.opted_out) < self.opt_outs and phone not in self.opted_out:
                self.system.say_stop(phone)
                self.opted_out.add(phone)

    def _stop_one(self) -> None:
        worker = self.chance.choice([one for one in self.workers if one.pid not in self.stopped])
        worker.send_signal(signal.SIGSTOP)
        self.stopped[worker.pid] = time.monotonic() + self.chance.uniform(*self.stop_seconds)

    def _resume(self) -> None:
        for worker in self.workers:
            if self.stopped.get(worker.pid, float("inf")) <= time.monotonic():
                worker.send_signal(signal.SIGCONT)
                del self.stopped[worker.pid]

    def _kill_one(self) -> None:
        index = self.chance.randrange(len(self.workers))
        killed = self.workers[index]
        killed.kill()
        killed.wait()
        self.stopped.pop(killed.pid, None)
        self.workers[index] = self.system.start_worker()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code < 500
    except httpx.TransportError:
        return False
