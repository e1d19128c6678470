"""An empty warehouse of each kind, and what the raw tables hold beside what the source does."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from feature_store.warehouse import DuckDBWarehouse, PostgresWarehouse, Warehouse
from orchestration.runtime.home import Home
from orchestration.runtime.postgres import EmbeddedPostgres

Versions = list[tuple[str, int]]


@pytest.fixture
def duckdb_warehouse(tmp_path: Path) -> DuckDBWarehouse:
    return DuckDBWarehouse(tmp_path / "warehouse.duckdb")


@pytest.fixture(scope="session")
def _warehouse_url(home: Home) -> Iterator[str]:
    """A PostgreSQL database for warehouses, owned by a role that is no superuser."""
    server = EmbeddedPostgres(home)
    name = f"test_warehouse_{os.getpid()}"
    with psycopg.connect(server.url("postgres", "postgres_admin", "postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'warehouse'")
        connection.execute(f"CREATE DATABASE {name} OWNER {name} TEMPLATE template0")
        host = connection.info.host
        port = connection.info.port
    yield f"postgresql://{name}:warehouse@{host}:{port}/{name}"
    with psycopg.connect(server.url("postgres", "postgres_admin", "postgres"), autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
        connection.execute(f"DROP ROLE {name}")


@pytest.fixture
def postgres_warehouse(_warehouse_url: str) -> PostgresWarehouse:
    with psycopg.connect(_warehouse_url) as connection:
        connection.execute("DROP SCHEMA IF EXISTS raw, marts CASCADE")
    return PostgresWarehouse(_warehouse_url)


@pytest.fixture(params=["duckdb", "postgres"])
def warehouse(request: pytest.FixtureRequest) -> Warehouse:
    """An empty warehouse, of both kinds in turn."""
    made: Warehouse = request.getfixturevalue(f"{request.param}_warehouse")
    return made


@pytest.fixture
def location() -> Callable[[Warehouse], str]:
    """What FEATURE_STORE_WAREHOUSE would say."""
    return lambda warehouse: warehouse.dbt_environment()["FEATURE_STORE_WAREHOUSE"]


@pytest.fixture
def tenant(database) -> uuid.UUID:
    return database.add_tenant()


@pytest.fixture
def versions() -> Callable[..., Versions]:
    """(id, changed_xid) of every row of a raw table, sorted."""

    def found(warehouse: Warehouse, table: str = "contacts") -> Versions:
        return sorted(warehouse.raw_query(f"SELECT id, changed_xid FROM raw.{table}").iter_rows())

    return found


@pytest.fixture
def live(database) -> Callable[..., Versions]:
    """(id, changed_xid) of every row of a source table, sorted."""

    def found(table: str = "contacts") -> Versions:
        with psycopg.connect(database.admin) as connection:
            return sorted(connection.execute(f"SELECT id::text, changed_xid::text::bigint FROM {table}").fetchall())

    return found
