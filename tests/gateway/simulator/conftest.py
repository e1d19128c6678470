import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from gateway.driver import Driver, NumberConfig
from gateway.errors import ForgedWebhook
from gateway.registry import build_driver
from gateway.types import GatewayEvent

ROOT = Path(__file__).resolve().parents[3]
SECRET, TOKEN, NUMBER, WABA = "app-secret", "token", "100000000000001", "200000000000001"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(look: Callable[[], object], seconds: float = 20) -> object:
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.05)


class Receiver:
    """A webhook endpoint: verifies, parses, remembers; answers `status`."""

    def __init__(self) -> None:
        self.status = 200
        self.delay_seconds = 0.0
        self.deliveries: list[list[GatewayEvent]] = []
        self.driver = build_driver("cloud_api", NumberConfig("http://127.0.0.1:1", NUMBER, TOKEN, SECRET, "verify"))
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.driver.verify(dict(self.headers), body)
                time.sleep(receiver.delay_seconds)
                if receiver.status == 200:
                    receiver.deliveries.append(receiver.driver.parse_webhook(body))
                self.send_response(receiver.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def do_GET(self) -> None:
                query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
                try:
                    status, body = 200, receiver.driver.challenge(query).encode()
                except ForgedWebhook:
                    status, body = 403, b""
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                """Keeps the test output clean."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/webhook"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def events(self) -> list[GatewayEvent]:
        return [event for delivery in list(self.deliveries) for event in delivery]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class SimulatorProcess:
    """The simulator as it runs in production: a process of its own."""

    def __init__(self, state_dir: Path, webhook_url: str, **options: object) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        given = {
            "port": self.port, "state-dir": state_dir, "webhook-url": webhook_url, "app-secret": SECRET,
            "access-token": TOKEN, "verify-token": "verify", "phone-number-id": NUMBER, "people": 200, **options,
        }  # fmt: skip
        command = [sys.executable, "-m", "gateway.simulator"]
        for name, value in given.items():
            command += [f"--{name}", str(value)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
        self.http = httpx.Client(base_url=self.url, trust_env=False, timeout=20)
        wait_for(self._is_up)

    def _is_up(self) -> bool:
        assert self.process.poll() is None, "the simulator ended"
        try:
            return self.http.get("/simulator/health").status_code in (200, 503)
        except httpx.TransportError:
            return False

    def driver(self, **changes: object) -> Driver:
        return build_driver(
            "cloud_api", NumberConfig(self.url, NUMBER, changes.pop("token", TOKEN), SECRET, "verify", **changes)
        )

    def people(self) -> list[dict]:
        return self.http.get("/simulator/people").json()

    def truths(self) -> list[dict]:
        return [json.loads(line) for line in self.http.get("/simulator/truth/sends").text.splitlines()]

    def status(self) -> dict:
        return self.http.get("/simulator/status").json()

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def close(self) -> None:
        self.http.close()
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(timeout=20)


@pytest.fixture
def eventually() -> Callable[..., object]:
    """Waits until a look at the world finds something true, and gives it."""
    return wait_for


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture
def start_simulator(tmp_path, receiver) -> Iterator[Callable[..., SimulatorProcess]]:
    started: list[SimulatorProcess] = []

    def start(**options: object) -> SimulatorProcess:
        started.append(SimulatorProcess(tmp_path / "state", receiver.url, **options))
        return started[-1]

    yield start
    for simulator in started:
        simulator.close()
