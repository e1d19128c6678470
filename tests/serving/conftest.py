"""The API as a process would run it, over a database and a Redis of the test run."""

from __future__ import annotations

import csv
import datetime as dt
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr

from serving.app import create_app
from serving.auth.tokens import AccessToken, issue
from serving.kit.clock import request_time
from serving.settings import Settings
from serving.tenant.service import CreatedTenant, create_tenant
from tests.serving.api_process import ApiProcess, running_api

JWT_SECRET = "a-secret-of-the-test-run-that-is-long-enough"
PHONE_HMAC_KEY = "a-key-of-the-test-run"


@dataclass
class Clock:
    """What the API takes for now."""

    now: dt.datetime = field(default_factory=lambda: dt.datetime.now(dt.UTC).replace(microsecond=0))

    def advance(self, **duration: float) -> None:
        self.now += dt.timedelta(**duration)


@pytest.fixture(scope="module")
def bundles_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bundles")


@pytest.fixture(scope="module")
def settings(database, redis_url, bundles_dir) -> Settings:
    return Settings(
        database_url=database.app,
        worker_database_url=database.worker,
        redis_url=redis_url,
        jwt_secret=SecretStr(JWT_SECRET),
        phone_hmac_key=SecretStr(PHONE_HMAC_KEY),
        bundles_dir=bundles_dir,
        access_log=False,
        log_level="WARNING",
    )


@pytest.fixture(scope="module")
def api(settings: Settings) -> Iterator[TestClient]:
    """A client of the running API, without credentials. Errors come back as answers, as they do over a socket."""
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="module")
def api_process(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiProcess]:
    log = tmp_path_factory.mktemp("api") / "api.log"
    with running_api(settings.model_copy(update={"access_log": True, "log_level": "INFO"}), log) as started:
        yield started


@pytest.fixture(scope="session")
def run_api():
    """Runs the API as a process with settings of a test's own."""
    return running_api


@pytest.fixture
def clock(api: TestClient) -> Iterator[Clock]:
    """Lets a test move the API's time."""
    clock = Clock()

    async def now() -> dt.datetime:
        return clock.now

    api.app.dependency_overrides[request_time] = now
    yield clock
    api.app.dependency_overrides.pop(request_time)
    api.app.state.authenticator.forget()


@pytest.fixture(scope="module")
def tenant(database) -> CreatedTenant:
    return new_tenant(database)


@pytest.fixture(scope="module")
def stranger(database) -> CreatedTenant:
    """Another tenant, which must never see or touch the first one's rows."""
    return new_tenant(database)


@pytest.fixture
def as_admin(tenant: CreatedTenant) -> dict[str, str]:
    """Headers of the tenant's first API key."""
    return {"X-API-Key": tenant.api_key}


@pytest.fixture
def as_stranger(stranger: CreatedTenant) -> dict[str, str]:
    return {"X-API-Key": stranger.api_key}


def new_tenant(database, **columns) -> CreatedTenant:
    slug = f"tenant-{uuid.uuid4().hex[:8]}"
    return create_tenant(database.admin, slug, "A tenant", f"admin@{slug}.example", **columns)


def bearer(user_id: uuid.UUID, tenant_id: uuid.UUID | None, now: dt.datetime | None = None) -> dict[str, str]:
    """Headers of a token as login would give it."""
    now = now or dt.datetime.now(dt.UTC)
    token = issue(AccessToken(user_id, tenant_id), secret=JWT_SECRET, now=now, lifetime=dt.timedelta(minutes=30))
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture(scope="module")
def make_tenant(database):
    """Makes one more tenant with an administrator and an API key."""
    return lambda **columns: new_tenant(database, **columns)


@pytest.fixture(scope="session")
def token_headers():
    return bearer


@pytest.fixture(scope="session")
def contract() -> list[tuple[str, str]]:
    """(method, path) of every published route."""
    path = Path(__file__).parents[2].parent / "shared" / "design" / "api_contract.csv"
    if not path.is_file():
        pytest.skip("the published contract does not lie beside this checkout")
    with path.open() as lines:
        return [(row["method"], row["path"]) for row in csv.DictReader(lines)]
