"""Real servers for the tests: one embedded PostgreSQL and one Redis a worker, one fresh database a module."""

from __future__ import annotations

import itertools
import os
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from orchestration.runtime.home import Home
from orchestration.runtime.postgres import EmbeddedPostgres
from orchestration.runtime.redis import EmbeddedRedis

PROJECT_ROOT = Path(__file__).parents[1]
_numbers = itertools.count(1)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Several workers begin with what takes long, so that none is left alone with it at the end."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(scope="session", autouse=True)
def _no_ambient_settings() -> Iterator[None]:
    """Tests configure what they test; nothing leaks in from the caller's shell."""
    prefixes = ("SERVING_", "GATEWAY_", "TRAINING_", "FEATURE_STORE_", "RAPPORT_", "DAGSTER_", "DBT_", "MLFLOW_")
    removed = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith(prefixes)}
    removed |= {name: os.environ.pop(name) for name in ("DATABASE_URL", "REDIS_URL") if name in os.environ}
    yield
    os.environ.update(removed)


@pytest.fixture(scope="session")
def home() -> Iterator[Home]:
    """A RAPPORT_HOME of the test run's own, with PostgreSQL and Redis running in it (its path has a space).

    Not below pytest's folder: every run that starts closes that to others, and PostgreSQL may run as another user.
    """
    with tempfile.TemporaryDirectory(prefix="rapport home ", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        home = Home(Path(name))
        EmbeddedPostgres(home).start()
        EmbeddedRedis(home).start()
        yield home
        EmbeddedRedis(home).stop()
        EmbeddedPostgres(home).stop()


@pytest.fixture(scope="session")
def redis_url(home: Home) -> str:
    return EmbeddedRedis(home).url()


@dataclass(frozen=True)
class TestDatabase:
    """URLs of one migrated database, by role."""

    __test__ = False

    name: str
    admin: str
    app: str
    worker: str
    etl_read: str

    def add_tenant(self, slug: str | None = None, **columns: object) -> uuid.UUID:
        """The id of a new tenant, made as the operator would."""
        tenant_id = uuid.uuid4()
        values = {"id": tenant_id, "slug": slug or f"tenant-{tenant_id.hex[:8]}", "name": "A tenant"} | columns
        names = ", ".join(values)
        marks = ", ".join(f"%({name})s" for name in values)
        with psycopg.connect(self.admin) as connection:
            connection.execute(f"INSERT INTO tenants ({names}) VALUES ({marks})", values)
        return tenant_id

    def add_number(self, tenant_id: uuid.UUID, provider_number_id: str, phone: str = "+999100000001") -> uuid.UUID:
        with psycopg.connect(self.admin) as connection:
            row = connection.execute(
                "INSERT INTO phone_numbers (tenant_id, phone, provider_number_id, business_account_id)"
                " VALUES (%s, %s, %s, %s) RETURNING id",
                (tenant_id, phone, provider_number_id, f"waba-{provider_number_id}"),
            ).fetchone()
        assert row is not None
        return uuid.UUID(str(row[0]))


@pytest.fixture(scope="session")
def _template_database(home: Home) -> str:
    from serving.migrations.service import LOGIN_ROLES, create_database, migrate

    secrets = home.secrets()
    url = EmbeddedPostgres(home).url("postgres", "postgres_admin", "template_rapport")
    create_database(url)
    migrate(url, {role: secrets[f"postgres_{role}"] for role in LOGIN_ROLES})
    return "template_rapport"


@pytest.fixture(scope="module")
def database(home: Home, _template_database: str) -> Iterator[TestDatabase]:
    """A database of this test module's own, at the newest schema."""
    server = EmbeddedPostgres(home)
    name = f"test_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(server.url("postgres", "postgres_admin", "postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {_template_database}")
    yield TestDatabase(
        name=name,
        admin=server.url("postgres", "postgres_admin", name),
        app=server.url("app", "postgres_app", name),
        worker=server.url("worker", "postgres_worker", name),
        etl_read=server.url("etl_read", "postgres_etl_read", name),
    )
    with psycopg.connect(server.url("postgres", "postgres_admin", "postgres"), autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of data sets that lies beside the checkout on some machines."""
    folder = PROJECT_ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no shared/data folder beside this checkout")
    return folder
