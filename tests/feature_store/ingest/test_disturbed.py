"""Whatever stops a run half way, nothing half stays, the reason is said, and the next run gives the same rows."""

from __future__ import annotations

import datetime as dt
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import adbc_driver_manager
import psycopg
import pytest

from feature_store.ingest import TABLES, WarehouseFull, ingest
from feature_store.ingest_source import Source
from feature_store.warehouse import DuckDBWarehouse, PostgresWarehouse
from orchestration.runtime.home import Home
from orchestration.runtime.postgres import EmbeddedPostgres
from orchestration.runtime.process_table import kill, servers_in
from serving.migrations.service import LOGIN_ROLES, create_database, migrate

NOW = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
MANY = (
    "INSERT INTO contacts (tenant_id, custom_data)"
    " SELECT %s, jsonb_build_object('filler', repeat('x', 600), 'n', n) FROM generate_series(1, 30000) n"
)
# Says when a batch lies in the open transaction of the warehouse, and waits there to be killed.
STOPS = """
import datetime as dt, sys, time
from feature_store.ingest import ingest
from feature_store.ingest_source import Source
from feature_store.warehouse import warehouse_at

read, count = Source.batches, 0

def batches(self, query):
    global count
    for batch in read(self, query):
        yield batch
        count += 1
        if count == int(sys.argv[3]):
            print("inside", flush=True)
            time.sleep(60)

Source.batches = batches
ingest(sys.argv[1], warehouse_at(sys.argv[2]), now=dt.datetime(2026, 3, 1, tzinfo=dt.UTC))
"""
# A disk that ends after two megabytes.
FILLS = """
import datetime as dt, resource, sys
from feature_store.ingest import WarehouseFull, ingest
from feature_store.warehouse import warehouse_at

resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 20, resource.RLIM_INFINITY))
try:
    ingest(sys.argv[1], warehouse_at(sys.argv[2]), now=dt.datetime(2026, 3, 1, tzinfo=dt.UTC))
except WarehouseFull as error:
    print(error)
"""


@pytest.fixture
def many(database, tenant) -> None:
    with psycopg.connect(database.admin) as connection:
        connection.execute(MANY, [tenant])


def whole(warehouse, versions, live) -> None:
    assert versions(warehouse) == live()
    horizons = warehouse.raw_query("SELECT count(*) AS n, count(DISTINCT table_name) AS d FROM raw._horizons").row(0)
    assert horizons == (len(TABLES), len(TABLES))


@pytest.mark.chaos
@pytest.mark.usefixtures("many")
def test_killed_between_batches(database, warehouse, location, versions, live):
    for batch in (1, 2, 4):
        command = [sys.executable, "-c", STOPS, database.etl_read, location(warehouse), str(batch)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == b"inside\n"
            child.send_signal(signal.SIGKILL)
        assert child.returncode == -signal.SIGKILL

    ingest(database.etl_read, warehouse, now=NOW)

    whole(warehouse, versions, live)


@pytest.mark.chaos
@pytest.mark.usefixtures("many")
def test_a_disk_that_fills_is_named_and_leaves_nothing_half(database, duckdb_warehouse, location, versions, live):
    command = [sys.executable, "-c", FILLS, database.etl_read, location(duckdb_warehouse)]
    done = subprocess.run(command, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert "disk is full" in done.stdout
    assert versions(duckdb_warehouse) == []
    ingest(database.etl_read, duckdb_warehouse, now=NOW)
    whole(duckdb_warehouse, versions, live)
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


@pytest.mark.usefixtures("many")
def test_a_full_disk_of_a_postgresql_warehouse_is_named(database, postgres_warehouse, versions, live):
    ingest(database.etl_read, postgres_warehouse, ["tenants", "orders"], now=NOW)
    postgres_warehouse.raw_execute(
        "CREATE FUNCTION raw.fill() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION"
        " 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END $$"
    )
    postgres_warehouse.raw_execute(
        "CREATE TRIGGER fill BEFORE INSERT ON raw.tenants FOR EACH ROW EXECUTE FUNCTION raw.fill()"
    )
    database.add_tenant()
    before = versions(postgres_warehouse, "tenants")

    with pytest.raises(WarehouseFull, match="run again"):
        ingest(database.etl_read, postgres_warehouse, now=NOW)

    assert versions(postgres_warehouse, "tenants") == before
    postgres_warehouse.raw_execute("DROP TRIGGER fill ON raw.tenants")
    ingest(database.etl_read, postgres_warehouse, now=NOW)
    whole(postgres_warehouse, versions, live)


@pytest.fixture
def own_server() -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL nobody else uses, with 30,000 contacts to ingest."""
    with tempfile.TemporaryDirectory(prefix="rapport-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        home = Home(Path(name))
        server = EmbeddedPostgres(home)
        server.start()
        admin = server.url("postgres", "postgres_admin", "killed")
        create_database(admin)
        migrate(admin, {role: home.secrets()[f"postgres_{role}"] for role in LOGIN_ROLES})
        with psycopg.connect(admin) as connection:
            (tenant,) = connection.execute("INSERT INTO tenants (slug, name) VALUES ('t', 'T') RETURNING id").fetchone()
            connection.execute(MANY, [tenant])
        with psycopg.connect(server.url("postgres", "postgres_admin", "postgres"), autocommit=True) as connection:
            connection.execute("CREATE DATABASE warehouse")
        yield server
        server.stop()


@pytest.mark.chaos
@pytest.mark.parametrize("kind", ["duckdb", "postgres"])
def test_postgresql_killed_between_batches(own_server, kind, tmp_path, versions, monkeypatch):
    port = own_server.port()
    admin = own_server.url("postgres", "postgres_admin", "killed")
    etl = own_server.url("etl_read", "postgres_etl_read", "killed")
    inside = own_server.url("postgres", "postgres_admin", "warehouse")
    warehouse = DuckDBWarehouse(tmp_path / "w.duckdb") if kind == "duckdb" else PostgresWarehouse(inside)
    read, count = Source.batches, 0

    def batches(source, query):
        nonlocal count
        for batch in read(source, query):
            yield batch
            count += 1
            if count == 3:
                # The whole server at once, as when a machine loses its power.
                kill(servers_in(own_server._data(), ("postgres",)))

    with monkeypatch.context() as patched:
        patched.setattr(Source, "batches", batches)
        with pytest.raises((adbc_driver_manager.Error, OSError), match="server closed the connection"):
            ingest(etl, warehouse, now=NOW)
    assert own_server.start() == port
    assert versions(warehouse) == []

    ingest(etl, warehouse, now=NOW)

    with psycopg.connect(admin) as connection:
        expected = connection.execute("SELECT id::text, changed_xid::text::bigint FROM contacts").fetchall()
    assert versions(warehouse) == sorted(expected)
