"""Warehouses of empty views, on either backend, for tests that write what dbt would have built."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from feature_store.feature_views import FEATURE_VIEWS
from feature_store.warehouse import DuckDBWarehouse, PostgresWarehouse, Warehouse
from orchestration.runtime.home import Home
from orchestration.runtime.postgres import EmbeddedPostgres

TYPES = {"float32": "double precision", "timestamp": "timestamptz", "json": "varchar"}


@dataclass(frozen=True)
class Store:
    warehouse: Warehouse

    def write(self, statements: Sequence[str], row: Sequence[Any] | None = None) -> None:
        """Runs the statements; `?` marks each of the row's values."""
        if isinstance(self.warehouse, DuckDBWarehouse):
            with self.warehouse.connect(read_only=False) as connection:
                for statement in statements:
                    connection.execute(statement, row)
        else:
            assert isinstance(self.warehouse, PostgresWarehouse)
            with psycopg.connect(self.warehouse.url) as connection:
                for statement in statements:
                    connection.execute(statement.replace("?", "%s"), row)


@contextlib.contextmanager
def scratch_database(home: Home, prefix: str) -> Iterator[str]:
    """The URL of an empty database of the test run's own server."""
    server = EmbeddedPostgres(home)
    name = f"{prefix}_{os.getpid()}"
    with psycopg.connect(server.url("postgres", "postgres_admin", "postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        yield server.url("postgres", "postgres_admin", name)
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def empty_store(warehouse: Warehouse) -> Store:
    """The warehouse with every view empty, and the tenants t1 (Berlin) and t2 (UTC) without contacts."""
    store = Store(warehouse)
    store.write(["DROP SCHEMA IF EXISTS features CASCADE", "DROP SCHEMA IF EXISTS marts CASCADE"])
    store.write(["CREATE SCHEMA features", "CREATE SCHEMA marts"])
    store.write(
        [
            "CREATE TABLE marts.dim_tenants (tenant_id varchar, slug varchar, timezone varchar)",
            "INSERT INTO marts.dim_tenants VALUES ('t1', 'one', 'Europe/Berlin'), ('t2', 'two', 'UTC')",
            "CREATE TABLE marts.dim_contacts (tenant_id varchar, contact_id varchar)",
        ]
    )
    for view in FEATURE_VIEWS:
        columns = ", ".join(f"{feature.name} {TYPES[feature.dtype]}" for feature in view.features)
        store.write(
            [
                f"CREATE TABLE {view.source.table} (tenant_id varchar, contact_id varchar,"
                f" event_timestamp timestamptz, created_timestamp timestamptz, {columns})"
            ]
        )
    return store
