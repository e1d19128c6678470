"""Inputs by chance: some dozen seeded ones of each target in `make test`, at length with FUZZ=full (`make fuzz`).

A target asks for `chances` and makes one input of each; a failure tells its number, and FUZZ_FROM=<number> begins
there.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator

import httpx
import psycopg
import pytest

from tests.fuzz.limits import FULL, GIVES_MEMORY_BACK
from tests.fuzz.predictions import Asking, Judging
from tests.serving.api_process import ApiProcess, running_api

# The API's own fixtures, for targets that ask over HTTP.
from tests.serving.conftest import api, as_admin, bundles_dir, clock, make_tenant, settings, tenant

__all__ = ["api", "as_admin", "bundles_dir", "clock", "make_tenant", "settings", "tenant"]

# Of one target, at length.
SECONDS = float(os.environ.get("FUZZ_SECONDS", "600"))
FROM = int(os.environ.get("FUZZ_FROM", "0"))
# Of one target in `make test`; `@pytest.mark.fuzz(inputs=…)` names another number where each takes long.
INPUTS = 60


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if FULL and item.get_closest_marker("fuzz") is not None:
            item.add_marker(pytest.mark.timeout(SECONDS + 300))


@pytest.fixture
def chances(request: pytest.FixtureRequest) -> Iterator[Iterator[random.Random]]:
    """One source of chance for each input, seeded by the target's name and the input's number."""
    number = FROM

    def seeded() -> Iterator[random.Random]:
        nonlocal number
        marker = request.node.get_closest_marker("fuzz")
        inputs = marker.kwargs.get("inputs", INPUTS)
        until = time.monotonic() + SECONDS
        while time.monotonic() < until if FULL else number < FROM + inputs:
            yield random.Random(f"{request.node.name} {number}")
            number += 1

    yield seeded()
    # Shown with a failure, and by `make fuzz`.
    print(f"\n{request.node.name}: inputs {FROM} to {number}")


@pytest.fixture(scope="module")
def api_process(settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiProcess]:
    """The API as a process of its own, over the module's database, to be measured by `within_limits(pid=...)`."""
    log = tmp_path_factory.mktemp("api") / "api.log"
    with running_api(settings, log, **GIVES_MEMORY_BACK) as running:
        yield running


@pytest.fixture(scope="module")
def asking(api_process, tenant, bundles_dir, database) -> Iterator[Asking]:
    """The batch route, asked by a tenant with a champion and no rate limit to speak of."""
    Judging(bundles_dir).promote(tenant.tenant_id, "lead_scoring")
    with psycopg.connect(database.admin) as connection:
        connection.execute("UPDATE api_keys SET rate_limit = 1000000000")
    with httpx.Client(base_url=api_process.url, headers={"X-API-Key": tenant.api_key}, timeout=60) as client:
        yield Asking(api_process, client)
