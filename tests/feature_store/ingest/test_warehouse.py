"""Both warehouses answer alike."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from feature_store.warehouse import DuckDBWarehouse, PostgresWarehouse, Warehouse, warehouse_at

NOON = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)


@pytest.fixture
def filled(warehouse: Warehouse) -> Warehouse:
    """With a table of three rows in marts and in raw."""
    marts = (
        "CREATE SCHEMA marts",
        "CREATE TABLE marts.days (name text, moment timestamptz, n bigint)",
        f"INSERT INTO marts.days VALUES ('a', '{NOON}', 1), ('b', '{NOON}', 2), ('c', NULL, 3)",
    )
    if isinstance(warehouse, DuckDBWarehouse):
        with warehouse.connect(read_only=False) as connection:
            for statement in marts:
                connection.execute(statement)
    else:
        for statement in marts:
            warehouse.raw_execute(statement)
    for statement in ("CREATE SCHEMA raw", "CREATE TABLE raw.days (name text, n bigint)"):
        warehouse.raw_execute(statement)
    warehouse.raw_execute("INSERT INTO raw.days VALUES ($1, $2), ('b', 2), ('c', 3)", ["a", 1])
    return warehouse


def test_rows_keep_their_types_and_times_are_utc(filled):
    frame = filled.query("SELECT * FROM marts.days WHERE moment = $2 AND name = $1", ["b", NOON])

    assert frame.rows() == [("b", NOON, 2)]
    assert frame["moment"].dtype.time_zone == "UTC"


def test_a_list_is_one_parameter(filled):
    assert filled.query("SELECT n FROM marts.days WHERE name = ANY($1) ORDER BY n", [["a", "c"]])["n"].to_list() == [
        1,
        3,
    ]


def test_no_rows_have_their_columns(filled):
    assert filled.query("SELECT * FROM marts.days WHERE n > $1", [3]).columns == ["name", "moment", "n"]


def test_raw_rows_are_apart(filled):
    assert filled.raw_query("SELECT n FROM raw.days WHERE name = $1", ["a"])["n"].to_list() == [1]


@pytest.mark.parametrize("layer", ["marts", "raw"])
def test_batches_hold_every_row_once(filled, layer):
    read = filled.batches if layer == "marts" else filled.raw_batches
    with read(f"SELECT n FROM {layer}.days WHERE n > $1 ORDER BY n", [0], rows=2) as batches:
        assert batches.schema.names == ["n"]
        found = [batch["n"].to_pylist() for batch in batches]

    assert [n for batch in found for n in batch] == [1, 2, 3]


def test_what_a_statement_did_stays(filled):
    filled.raw_execute("DELETE FROM raw.days WHERE n < $1", [3])

    assert filled.raw_query("SELECT name FROM raw.days")["name"].to_list() == ["c"]


def test_the_location_says_which_it_is():
    assert warehouse_at("postgresql://a@127.0.0.1/b") == PostgresWarehouse("postgresql://a@127.0.0.1/b")
    assert warehouse_at("some/warehouse.duckdb") == warehouse_at(Path("some/warehouse.duckdb"))
    assert isinstance(warehouse_at("some/warehouse.duckdb"), DuckDBWarehouse)


def test_dbt_is_told_where_to_find_it():
    duckdb = DuckDBWarehouse(Path("/w/warehouse.duckdb")).dbt_environment()
    postgres = PostgresWarehouse("postgresql://dbt:p%40ss@db.example:5433/house").dbt_environment()

    assert duckdb["FEATURE_STORE_DBT_TARGET"] == "duckdb"
    assert duckdb["FEATURE_STORE_RAW"] == "/w/raw.duckdb"
    assert postgres["FEATURE_STORE_DBT_TARGET"] == "postgres"
    parts = [postgres[f"FEATURE_STORE_PG_{part}"] for part in ("HOST", "PORT", "USER", "PASSWORD", "DBNAME")]
    assert parts == ["db.example", "5433", "dbt", "p@ss", "house"]
    assert postgres["PGTZ"] == "UTC"
