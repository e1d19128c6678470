"""A small seeded history of two tenants, ingested and built once: PostgreSQL → raw → marts and features."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from feature_store.ingest import ingest
from feature_store.warehouse import DuckDBWarehouse
from orchestration.runtime.home import PROJECT_ROOT, Home
from orchestration.runtime.postgres import EmbeddedPostgres

HISTORY = Path(__file__).with_name("history.sql")
# Everything in the history is older.
AS_OF = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)


@dataclass(frozen=True)
class History:
    """`ours` lives on New York's clock and has 40 contacts; `theirs` holds the same 40 people's other life."""

    admin_url: str
    operational_url: str
    warehouse: DuckDBWarehouse
    ours: uuid.UUID
    theirs: uuid.UUID
    dbt_output: str

    def contact(self, number: int, tenant: str = "ours") -> str:
        with psycopg.connect(self.admin_url) as connection:
            row = connection.execute("SELECT history_id('contact', %s, %s)", [tenant, number]).fetchone()
        assert row is not None
        return str(row[0])


def dbt(warehouse: DuckDBWarehouse, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """One run of dbt over the warehouse; what it makes lies in `folder`."""
    project = str(PROJECT_ROOT / "dbt_project")
    environment = os.environ | warehouse.dbt_environment()
    environment |= {
        "DBT_TARGET_PATH": str(folder / "target"),
        "DBT_LOG_PATH": str(folder / "logs"),
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
    }
    command = [str(Path(sys.executable).with_name("dbt")), "--no-use-colors", *arguments]
    command += ["--project-dir", project, "--profiles-dir", project, "--vars", f"{{as_of: '{AS_OF.isoformat()}'}}"]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="session")
def history(home: Home, _template_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[History]:
    server = EmbeddedPostgres(home)
    name = f"test_history_{os.getpid()}"
    postgres = server.url("postgres", "postgres_admin", "postgres")
    admin_url = server.url("postgres", "postgres_admin", name)
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {_template_database}")
    with psycopg.connect(admin_url) as connection:
        connection.execute(HISTORY.read_text())
        tenants = dict(connection.execute("SELECT slug, id FROM tenants").fetchall())
    folder = tmp_path_factory.mktemp("history")
    warehouse = DuckDBWarehouse(folder / "warehouse.duckdb")
    operational_url = server.url("etl_read", "postgres_etl_read", name)
    ingest(operational_url, warehouse, now=AS_OF)
    built = dbt(warehouse, folder, "build")
    assert built.returncode == 0, built.stdout + built.stderr
    yield History(admin_url, operational_url, warehouse, tenants["ours"], tenants["theirs"], built.stdout)
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def run_dbt() -> Callable[..., subprocess.CompletedProcess[str]]:
    return dbt
