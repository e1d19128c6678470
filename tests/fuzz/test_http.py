"""Every route under requests nobody would write: no 5xx, and a bounded cost of each.

A real process of the API over PostgreSQL and Redis answers one request at a time. Its processor time and memory are
read around each; one that seems dear is asked twice more and judged by its cheapest, so that a thread's own work does
not count.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import psutil
import psycopg
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import GenerationMode

from serving.tenant.service import CreatedTenant, create_tenant
from tests.fuzz.limits import FULL, PATIENCE

pytestmark = pytest.mark.fuzz

FULL_SECONDS = 600
# Processor seconds of one request, and bytes the process may have grown by.
DEAREST, DEAREST_ANONYMOUS, GROWTH = 1.0 * PATIENCE, 0.02 * PATIENCE, 64_000_000
# The clock that counts processor time has ticks of 10 ms.
TICK = 1 / os.sysconf("SC_CLK_TCK")
# Never ends.
STREAMS = {"/api/v1/ml/training/progress"}
# Said with reason where nothing was published yet and no Dagster runs.
UNAVAILABLE = ("urn:rapport:problem:nothing-published", "urn:rapport:problem:training-unavailable")


@dataclass(frozen=True)
class Served:
    url: str
    process: psutil.Process
    tenant: CreatedTenant

    def spent(self) -> tuple[float, int]:
        """(processor seconds, resident bytes) of the process by now."""
        used = self.process.cpu_times()
        return used.user + used.system, self.process.memory_info().rss


@pytest.fixture(scope="module")
def served(database, redis_url, tmp_path_factory) -> Iterator[Served]:
    tenant = create_tenant(database.admin, "fuzzed", "Fuzzed", "fuzz@example.com")
    with psycopg.connect(database.admin) as connection:
        connection.execute("UPDATE api_keys SET rate_limit = 1000000")
    folder = tmp_path_factory.mktemp("fuzz")
    environment = os.environ | {
        "SERVING_DATABASE_URL": database.app,
        "SERVING_WORKER_DATABASE_URL": database.worker,
        "SERVING_REDIS_URL": redis_url,
        "SERVING_JWT_SECRET": "a-secret-of-the-test-run-that-is-long-enough",
        "SERVING_PHONE_HMAC_KEY": "a-key-of-the-test-run",
        "SERVING_BUNDLES_DIR": str(folder / "bundles"),
        "SERVING_LOG_LEVEL": "ERROR",
        "SERVING_LOGIN_ATTEMPTS_PER_ADDRESS": "1000000",
        "SERVING_DAGSTER_URL": "http://127.0.0.1:1",
    }
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    with (folder / "api.log").open("w") as log:
        started = subprocess.Popen(
            [sys.executable, "-m", "serving", "--port", str(port)], env=environment, stdout=log, stderr=log
        )
    try:
        for _ in range(600):
            with contextlib.suppress(httpx.TransportError):
                httpx.get(f"{url}/api/v1/health/health")
                break
            time.sleep(0.1)
        yield Served(url, psutil.Process(started.pid), tenant)
        told = (folder / "api.log").read_text()
        assert "Traceback" not in told, told[-4_000:]
    finally:
        started.kill()
        started.wait()


@pytest.fixture(scope="module")
def operations(served):
    """Every operation of the document the process serves."""
    document = httpx.get(f"{served.url}/openapi.json", timeout=30).json()
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=served.url)
    return [found.ok() for found in schema.get_all_operations() if found.ok().path not in STREAMS]


def judged(served: Served, session: requests.Session, case, headers: dict[str, str], dearest: float) -> None:
    told = []
    for _ in range(3):
        before, held = served.spent()
        # A body that cannot be sent, such as a header with a line break in it, is nobody's request.
        with contextlib.suppress(requests.exceptions.InvalidHeader, UnicodeError):
            answer = case.call(session=session, headers=headers, timeout=60)
            said = answer.status_code == 503 and answer.json()["type"] in UNAVAILABLE
            assert answer.status_code < 500 or said, (answer.status_code, answer.text, case.as_curl_command())
            if answer.status_code >= 400:
                assert answer.headers["content-type"][0].startswith("application/problem+json"), case.as_curl_command()
        after, grown = served.spent()
        told.append((after - before, grown - held))
        if told[-1][0] <= dearest + TICK and told[-1][1] <= GROWTH:
            return
    seconds, bytes_grown = min(cost for cost, _ in told), min(growth for _, growth in told)
    assert seconds <= dearest + TICK, (seconds, case.as_curl_command())
    assert bytes_grown <= GROWTH, (bytes_grown, case.as_curl_command())


def fuzz(served, operations, headers: dict[str, str], dearest: float) -> None:
    until = time.monotonic() + FULL_SECONDS / 2
    examples = 25 if FULL else 2
    given_seed = 7
    with requests.Session() as session:
        while True:
            for operation in operations:
                for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
                    _fuzz_operation(served, session, operation, mode, headers, dearest, examples, given_seed)
            given_seed += 1
            if not FULL or time.monotonic() > until:
                return


def _fuzz_operation(served, session, operation, mode, headers, dearest, examples, given_seed) -> None:
    @seed(given_seed)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def run(case) -> None:
        judged(served, session, case, headers, dearest)

    with contextlib.suppress(_nothing_to_negate()):
        run()


def _nothing_to_negate() -> type[Exception]:
    from hypothesis.errors import Unsatisfiable

    return Unsatisfiable


@pytest.mark.timeout(900)
class TestHttp:
    def test_as_an_administrator(self, served, operations):
        fuzz(served, operations, {"X-API-Key": served.tenant.api_key, "X-Request-ID": uuid.uuid4().hex}, DEAREST)

    def test_as_anybody(self, served, operations):
        # A password takes 19 MiB and tens of milliseconds to check, by design; how many are checked is limited.
        anybody = [operation for operation in operations if "/auth/login" not in operation.path]
        fuzz(served, anybody, {"X-API-Key": ""}, DEAREST_ANONYMOUS)

    def test_a_login(self, served, operations):
        logins = [operation for operation in operations if "/auth/login" in operation.path]
        assert len(logins) == 2
        fuzz(served, logins, {}, DEAREST)
