from __future__ import annotations

import os
from pathlib import Path

import duckdb
import pytest

from feature_store.warehouse import DuckDBWarehouse, PostgresWarehouse
from orchestration.lib.rebuilding import building, copy_file, rebuilt

WAREHOUSE = "FEATURE_STORE_WAREHOUSE"


@pytest.fixture
def warehouse(tmp_path: Path) -> DuckDBWarehouse:
    warehouse = DuckDBWarehouse(tmp_path / "warehouse.duckdb")
    with warehouse.connect(read_only=False) as connection:
        connection.execute("CREATE TABLE numbers AS SELECT 1 AS number")
    return warehouse


def numbers(warehouse: DuckDBWarehouse) -> list[int]:
    with duckdb.connect(str(warehouse.path), read_only=True) as connection:
        return [number for (number,) in connection.execute("SELECT number FROM numbers ORDER BY number").fetchall()]


def build(path: str) -> None:
    with duckdb.connect(path) as connection:
        connection.execute("INSERT INTO numbers VALUES (2)")


class TestRebuilt:
    def test_the_new_one_takes_the_place_when_it_is_whole(self, warehouse: DuckDBWarehouse) -> None:
        with rebuilt(warehouse) as place:
            build(os.environ[WAREHOUSE])
            assert numbers(warehouse) == [1]
            assert place == building(warehouse)
        assert numbers(warehouse) == [1, 2]
        assert not building(warehouse).path.exists()
        assert WAREHOUSE not in os.environ

    def test_who_reads_the_old_one_goes_on_reading_it(self, warehouse: DuckDBWarehouse) -> None:
        with warehouse.connect() as reader:
            with rebuilt(warehouse):
                build(os.environ[WAREHOUSE])
            assert reader.execute("SELECT count(*) FROM numbers").fetchall() == [(1,)]
        assert numbers(warehouse) == [1, 2]

    def test_the_first_one_is_built_from_nothing(self, tmp_path: Path) -> None:
        first = DuckDBWarehouse(tmp_path / "none" / "warehouse.duckdb")
        first.path.parent.mkdir()
        with rebuilt(first), duckdb.connect(os.environ[WAREHOUSE]) as connection:
            connection.execute("CREATE TABLE numbers AS SELECT 7 AS number")
        assert numbers(first) == [7]

    def test_from_nothing_takes_over_none_of_the_old(self, warehouse: DuckDBWarehouse) -> None:
        with rebuilt(warehouse, from_nothing=True), duckdb.connect(os.environ[WAREHOUSE]) as connection:
            connection.execute("CREATE TABLE numbers AS SELECT 9 AS number")
            assert numbers(warehouse) == [1]
        assert numbers(warehouse) == [9]

    def test_an_error_leaves_the_old_one(self, warehouse: DuckDBWarehouse) -> None:
        rebuilding = rebuilt(warehouse)
        rebuilding.__enter__()
        build(os.environ[WAREHOUSE])
        assert not rebuilding.__exit__(RuntimeError, RuntimeError("a model failed"), None)
        assert numbers(warehouse) == [1]
        assert not building(warehouse).path.exists()

    def test_what_a_killed_build_left_is_not_built_upon(self, warehouse: DuckDBWarehouse) -> None:
        building(warehouse).path.write_bytes(b"half a file")
        building(warehouse).path.with_name("warehouse.building.duckdb.wal").write_bytes(b"half a log")
        spilled = building(warehouse).path.with_name("warehouse.building.duckdb.tmp")
        spilled.mkdir()
        (spilled / "block").write_bytes(b"spilled")
        with rebuilt(warehouse):
            build(os.environ[WAREHOUSE])
        assert numbers(warehouse) == [1, 2]
        assert not spilled.exists()

    def test_postgresql_is_built_in_place(self) -> None:
        place = PostgresWarehouse("postgresql://someone:secret@127.0.0.1:9/there")
        with rebuilt(place) as same:
            assert same is place
            assert os.environ["FEATURE_STORE_PG_DBNAME"] == "there"
        assert "FEATURE_STORE_PG_DBNAME" not in os.environ


def test_a_copy_is_a_file_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(os.urandom(100_000))
    copy_file(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    (tmp_path / "a").write_bytes(b"changed")
    assert (tmp_path / "b").stat().st_size == 100_000
