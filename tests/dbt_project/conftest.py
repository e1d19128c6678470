"""A history in PostgreSQL, and a warehouse of it on each engine."""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
import psycopg
import pytest

from feature_store.ingest import ingest
from feature_store.warehouse import DuckDBWarehouse, PostgresWarehouse, Warehouse
from orchestration.runtime.home import PROJECT_ROOT, Home
from orchestration.runtime.postgres import EmbeddedPostgres

PROJECT = str(PROJECT_ROOT / "dbt_project")
HISTORY = PROJECT_ROOT / "tests" / "feature_store" / "history.sql"
# ADBC hands over a numeric as text.
COLUMNS = """
    SELECT table_schema || '.' || table_name AS name, CASE
        WHEN lower(data_type) LIKE 'numeric%' OR lower(data_type) LIKE 'decimal%'
            THEN 'CAST("' || column_name || '" AS double precision) AS "' || column_name || '"'
        ELSE '"' || column_name || '"' END AS selected
    FROM information_schema.columns
    WHERE table_schema IN ('staging', 'intermediate', 'features', 'marts') AND table_name NOT LIKE '^_%' ESCAPE '^'
    ORDER BY 1, column_name
"""


@dataclass(frozen=True)
class Twins:
    """The same raw rows on both engines; `folder` holds the DuckDB files and what dbt makes."""

    admin_url: str
    operational_url: str
    folder: Path
    duckdb: DuckDBWarehouse
    postgres: PostgresWarehouse
    places: list[Warehouse] = field(default_factory=list)

    def change(self, statements: str) -> None:
        """Done by people and providers since."""
        with psycopg.connect(self.admin_url) as connection:
            connection.execute(statements)

    def ingest(self, now: dt.datetime) -> None:
        for warehouse in (self.duckdb, self.postgres):
            ingest(self.operational_url, warehouse, now=now)

    def command(
        self, warehouse: Warehouse, as_of: dt.datetime, *arguments: str, **variables: object
    ) -> tuple[list[str], dict[str, str]]:
        command = [str(Path(sys.executable).with_name("dbt")), "--no-use-colors", *arguments]
        given = json.dumps({"as_of": as_of.isoformat()} | variables)
        command += ["--project-dir", PROJECT, "--profiles-dir", PROJECT, "--vars", given]
        # dbt parses all anew for another place than the last one; each keeps its own parsing.
        if warehouse not in self.places:
            self.places.append(warehouse)
        number = self.places.index(warehouse)
        return command, os.environ | warehouse.dbt_environment() | {
            "DBT_TARGET_PATH": str(self.folder / f"target-{number}"),
            "DBT_LOG_PATH": str(self.folder / f"logs-{number}"),
            "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        }

    def built(
        self, warehouse: Warehouse, as_of: dt.datetime, *arguments: str, **variables: object
    ) -> dict[str, pl.DataFrame]:
        """Every model's rows after a run of dbt over the warehouse."""
        command, environment = self.command(warehouse, as_of, *arguments, **variables)
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return rows_by_model(warehouse)

    def built_whole(self, as_of: dt.datetime, **variables: object) -> dict[str, pl.DataFrame]:
        """Every model's rows when built from nothing, of the raw rows there are now."""
        folder = self.folder / f"whole-{len(self.places)}"
        folder.mkdir()
        warehouse = DuckDBWarehouse(folder / "warehouse.duckdb")
        shutil.copy(self.duckdb.raw_path, warehouse.raw_path)
        return self.built(warehouse, as_of, "run", **variables)


def rows_by_model(warehouse: Warehouse) -> dict[str, pl.DataFrame]:
    """Sorted rows in one set of types: engines differ in how precise a time and how wide a number they declare."""
    found = {}
    for (name,), columns in warehouse.query(COLUMNS).group_by("name", maintain_order=True):
        frame = warehouse.query(f"SELECT {', '.join(columns['selected'])} FROM {name}").with_columns(
            pl.selectors.datetime(time_zone="*").dt.convert_time_zone("UTC").dt.cast_time_unit("us"),
            pl.selectors.datetime(time_zone=None).dt.cast_time_unit("us"),
            pl.selectors.integer().cast(pl.Int64),
        )
        keys = [column for column, kind in frame.schema.items() if kind != pl.Float64]
        found[str(name)] = frame.sort(
            [*keys, *(column for column in frame.columns if column not in keys)], nulls_last=True
        )
    return found


@pytest.fixture(scope="module")
def make_twins(
    home: Home, _template_database: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[], Twins]]:
    server = EmbeddedPostgres(home)
    postgres = server.url("postgres", "postgres_admin", "postgres")
    made: list[str] = []

    def make() -> Twins:
        number = len(made)
        operational, warehouse = f"test_twins_{os.getpid()}_{number}", f"test_warehouse_{os.getpid()}_{number}"
        with psycopg.connect(postgres, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {operational} TEMPLATE {_template_database}")
            connection.execute(f"CREATE DATABASE {warehouse}")
        made.extend((operational, warehouse))
        admin_url = server.url("postgres", "postgres_admin", operational)
        with psycopg.connect(admin_url) as connection:
            connection.execute(HISTORY.read_text())
        folder = tmp_path_factory.mktemp("twins")
        return Twins(
            admin_url,
            server.url("etl_read", "postgres_etl_read", operational),
            folder,
            DuckDBWarehouse(folder / "warehouse.duckdb"),
            PostgresWarehouse(server.url("postgres", "postgres_admin", warehouse)),
        )

    yield make
    with psycopg.connect(postgres, autocommit=True) as connection:
        for name in made:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
