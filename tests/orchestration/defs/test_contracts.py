"""Rows that break a contract are named, counted and stop the run; rows that keep it pass once."""

from __future__ import annotations

import datetime as dt

import pandas as pd
import pytest

from feature_store.warehouse import DuckDBWarehouse
from orchestration.defs.ingest.boundary import judge_new_rows
from orchestration.defs.ingest.contracts import CONTRACTS, judge

NOW = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)


def orders(**changed):
    row = {
        "tenant_id": "t",
        "id": "1",
        "contact_id": "c",
        "external_id": "o-1",
        "currency": "EUR",
        "status": "pending",
        "total_cents": 1250,
        "ordered_at": pd.Timestamp(NOW),
        "known_at": pd.Timestamp(NOW),
    }
    return pd.DataFrame([row, row | {"id": "2"} | changed])


class TestJudge:
    def test_good_rows_pass(self):
        verdict = judge("orders", orders(), NOW)
        assert verdict.passed
        assert verdict.rows == 2
        assert verdict.expectations > 8

    def test_no_rows_pass_without_being_asked(self):
        assert judge("orders", orders().head(0), NOW).passed

    @pytest.mark.parametrize(
        ("change", "named"),
        [
            ({"contact_id": None}, "contact_id"),
            ({"status": "lost"}, "status"),
            ({"total_cents": -1}, "total_cents"),
            ({"ordered_at": pd.Timestamp(NOW + dt.timedelta(hours=1))}, "ordered_at"),
        ],
    )
    def test_a_broken_row_is_named_and_counted(self, change, named):
        verdict = judge("orders", orders(**change), NOW)
        assert not verdict.passed
        assert [count for words, count in verdict.broken.items() if f"({named})" in words] == [1]

    def test_a_clock_some_minutes_ahead_is_forgiven(self):
        assert judge("orders", orders(ordered_at=pd.Timestamp(NOW + dt.timedelta(minutes=4))), NOW).passed


class TestJudgeNewRows:
    @pytest.fixture
    def warehouse(self, tmp_path):
        warehouse = DuckDBWarehouse(tmp_path / "warehouse.duckdb")
        with warehouse.connect_raw(read_only=False) as connection:
            connection.execute("CREATE SCHEMA raw")
            columns = ", ".join(f'"{column}" {_type(column)}' for column in CONTRACTS["orders"].columns)
            connection.execute(
                f"CREATE TABLE raw.orders ({columns}, changed_xid ubigint, created_timestamp timestamptz)"
            )
        return warehouse

    def test_rows_that_passed_are_not_judged_again(self, warehouse):
        _ingest(warehouse, orders(), NOW)
        assert _judged(warehouse) == (True, 2)
        _ingest(warehouse, orders().head(1), NOW + dt.timedelta(minutes=1))
        assert _judged(warehouse) == (True, 1)
        assert _judged(warehouse) == (True, 0)

    def test_broken_rows_are_judged_again_until_they_are_put_right(self, warehouse):
        _ingest(warehouse, orders(status="lost"), NOW)
        assert _judged(warehouse) == (False, 2)
        _ingest(warehouse, orders().assign(id=["3", "4"]), NOW + dt.timedelta(minutes=1))
        assert _judged(warehouse) == (False, 4)
        _ingest(warehouse, orders(), NOW + dt.timedelta(minutes=2))
        assert _judged(warehouse) == (True, 4)


def _type(column):
    return "bigint" if column == "total_cents" else "timestamptz" if column.endswith("_at") else "varchar"


def _ingest(warehouse, rows, at):
    with warehouse.connect_raw(read_only=False) as connection:
        connection.register("rows", rows.assign(created_timestamp=pd.Timestamp(at), changed_xid=int(at.timestamp())))
        connection.execute("INSERT INTO raw.orders BY NAME SELECT * FROM rows")


def _judged(warehouse):
    result = judge_new_rows(warehouse, "orders", NOW)
    return result.passed, result.rows
