from __future__ import annotations

import os

import duckdb
import pytest

from feature_store.warehouse import DuckDBWarehouse
from orchestration.lib.rebuilding import WAREHOUSE, rebuilt


@pytest.fixture
def warehouse(tmp_path):
    warehouse = DuckDBWarehouse(tmp_path / "warehouse.duckdb")
    with warehouse.connect(read_only=False) as connection:
        connection.execute("CREATE TABLE numbers AS SELECT 1 AS number")
    return warehouse


def numbers(warehouse):
    with duckdb.connect(str(warehouse.path), read_only=True) as connection:
        return [number for (number,) in connection.execute("SELECT number FROM numbers ORDER BY number").fetchall()]


def build(path):
    with duckdb.connect(str(path)) as connection:
        connection.execute("INSERT INTO numbers VALUES (2)")


class TestRebuilt:
    def test_the_new_one_takes_the_place_when_it_is_whole(self, warehouse):
        with rebuilt(warehouse) as copy:
            build(os.environ[WAREHOUSE])
            assert numbers(warehouse) == [1]
        assert numbers(warehouse) == [1, 2]
        assert not copy.exists()
        assert WAREHOUSE not in os.environ

    def test_an_error_leaves_the_old_one(self, warehouse):
        rebuilding = rebuilt(warehouse)
        copy = rebuilding.__enter__()
        build(copy)
        assert not rebuilding.__exit__(RuntimeError, RuntimeError("a model failed"), None)
        assert numbers(warehouse) == [1]
        assert not copy.exists()

    def test_what_a_killed_build_left_is_not_built_upon(self, warehouse):
        build_left = warehouse.path.with_name("warehouse.building.duckdb")
        build_left.write_bytes(b"half a file")
        with rebuilt(warehouse) as copy:
            build(copy)
        assert numbers(warehouse) == [1, 2]
