"""A tenant's analysts get that tenant's rows and nobody else's, from either warehouse."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import duckdb
import psycopg
import pytest

from feature_store.warehouse import DuckDBWarehouse, PostgresWarehouse, Warehouse
from orchestration.lib.snapshots import write_snapshot
from orchestration.runtime.home import Home
from orchestration.runtime.postgres import EmbeddedPostgres

OURS, THEIRS = "0a7c1f0e-ours", "5f2d9b3c-theirs"
BUILT = f"""
    CREATE SCHEMA marts; CREATE SCHEMA features; CREATE SCHEMA staging;
    CREATE TABLE marts.fct_messages (tenant_id text, message_id text, note text);
    INSERT INTO marts.fct_messages
        SELECT CASE n % 2 WHEN 0 THEN '{OURS}' ELSE '{THEIRS}' END, 'm' || n,
            CASE n % 2 WHEN 0 THEN 'of ' || '{OURS}' ELSE 'of ' || '{THEIRS}' END
        FROM generate_series(1, 4000) AS s(n);
    CREATE TABLE marts.mart_empty (tenant_id text, amount_cents bigint);
    INSERT INTO marts.mart_empty VALUES ('{THEIRS}', 5);
    CREATE TABLE marts.dim_dates (date_day date);
    INSERT INTO marts.dim_dates VALUES ('2026-03-01');
    CREATE TABLE marts.of_everybody (what text);
    INSERT INTO marts.of_everybody VALUES ('{THEIRS}');
    CREATE TABLE features.contact_profile (tenant_id text, age integer);
    INSERT INTO features.contact_profile VALUES ('{OURS}', 30), ('{THEIRS}', 40);
    CREATE TABLE staging.stg_messages (tenant_id text);
    INSERT INTO staging.stg_messages VALUES ('{OURS}')
"""


@pytest.fixture(params=["duckdb", "postgres"])
def warehouse(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Warehouse]:
    if request.param == "duckdb":
        file = DuckDBWarehouse(tmp_path / "warehouse.duckdb")
        with file.connect(read_only=False) as connection:
            connection.execute(BUILT)
        yield file
        return
    home: Home = request.getfixturevalue("home")
    server, name = EmbeddedPostgres(home), f"snapshots_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(server.url("postgres", "postgres_admin", "postgres"), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
        url = server.url("postgres", "postgres_admin", name)
        with psycopg.connect(url) as connection:
            connection.execute(BUILT)
        yield PostgresWarehouse(url)
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


class TestWriteSnapshot:
    def test_it_holds_this_tenants_rows(self, warehouse: Warehouse, tmp_path: Path) -> None:
        written = write_snapshot(warehouse, OURS, tmp_path / "snapshots" / "ours.duckdb")
        assert written.rows == {
            "features.contact_profile": 1,
            "marts.dim_dates": 1,
            "marts.fct_messages": 2000,
            "marts.mart_empty": 0,
        }
        with duckdb.connect(str(written.path), read_only=True) as reader:
            assert reader.execute("SELECT age FROM features.contact_profile").fetchall() == [(30,)]
            assert reader.execute("SELECT DISTINCT tenant_id FROM marts.fct_messages").fetchall() == [(OURS,)]

    def test_nothing_in_it_names_another_tenant(self, warehouse: Warehouse, tmp_path: Path) -> None:
        written = write_snapshot(warehouse, OURS, tmp_path / "ours.duckdb")
        assert THEIRS.encode() not in written.path.read_bytes()
        assert everything(written.path).count(THEIRS) == 0
        # The search itself finds what is there.
        assert everything(written.path).count(OURS) > 2000

    def test_it_is_replaced_whole_under_who_reads_it(self, warehouse: Warehouse, tmp_path: Path) -> None:
        file = tmp_path / "ours.duckdb"
        write_snapshot(warehouse, OURS, file)
        with duckdb.connect(str(file), read_only=True) as reader:
            write_snapshot(warehouse, THEIRS, file)
            assert reader.execute("SELECT age FROM features.contact_profile").fetchall() == [(30,)]
        assert everything(file).count(OURS) == 0
        assert sorted(one.name for one in tmp_path.iterdir() if "ours" in one.name) == ["ours.duckdb"]


def everything(file: Path) -> str:
    """All values of all tables, as text."""
    with duckdb.connect(str(file), read_only=True) as reader:
        tables = reader.execute("SELECT table_schema || '.' || table_name FROM information_schema.tables").fetchall()
        return "\n".join(
            str(row) for (table,) in tables for row in reader.execute(f"SELECT t::varchar FROM {table} AS t").fetchall()
        )
