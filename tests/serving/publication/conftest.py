from __future__ import annotations

import datetime as dt
import uuid

import psycopg
import pyarrow as pa
import pytest

from orchestration.runtime.postgres import EmbeddedPostgres
from serving.publication.service import publish_marts

NOW = dt.datetime(2026, 3, 10, 12, tzinfo=dt.UTC)


@pytest.fixture(scope="module")
def publisher_url(home, database) -> str:
    return EmbeddedPostgres(home).url("publisher", "postgres_publisher", database.name)


@pytest.fixture(scope="module")
def tenants(database) -> tuple[uuid.UUID, uuid.UUID]:
    return database.add_tenant("ours"), database.add_tenant("theirs")


@pytest.fixture
def publish(publisher_url):
    """Publishes pyarrow tables by name; says the snapshot they are."""

    def publish(
        snapshot_id: str = "s1", as_of: dt.datetime = NOW, now: dt.datetime = NOW, notes=None, **tables: pa.Table
    ):
        readers = {name: table.to_reader() for name, table in tables.items()}
        return publish_marts(publisher_url, readers, snapshot_id, as_of, now, notes=notes)

    return publish


@pytest.fixture(scope="module")
def seen(database):
    """What a role sees of a query, acting for a tenant or for none."""

    def seen(query: str, tenant: uuid.UUID | None, role: str = "app") -> list[tuple]:
        with psycopg.connect(getattr(database, role)) as connection:
            connection.execute("SELECT set_config('app.tenant_id', %s, true)", (str(tenant or ""),))
            return connection.execute(query).fetchall()

    return seen
