"""Rows that break a contract are named, counted and set aside with their tenant; all others go on."""

from __future__ import annotations

import dataclasses
import datetime as dt
import itertools
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import psycopg
import pytest

from feature_store import set_aside
from feature_store.ingest import TABLES
from feature_store.ingest_raw import open_raw
from feature_store.warehouse import DuckDBWarehouse, PostgresWarehouse, Warehouse
from orchestration.defs.ingest import boundary
from orchestration.defs.ingest.boundary import judge_new_rows
from orchestration.defs.ingest.contracts import CONTRACTS
from orchestration.defs.ingest.judging import KEPT_PAGES, Judge, Verdict
from orchestration.runtime.home import Home
from orchestration.runtime.postgres import EmbeddedPostgres

NOW = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
GOOD: dict[str, Any] = {
    "tenant_id": "t",
    "id": "1",
    "contact_id": "c",
    "external_id": "o-1",
    "currency": "EUR",
    "status": "pending",
    "total_cents": 1250,
    "ordered_at": NOW,
    "known_at": NOW,
    "_load_id": 1,
}
FAR = dt.timedelta(days=365 * 900)


def orders(**changed: object) -> list[dict[str, Any]]:
    return [GOOD, GOOD | {"id": "2"} | changed]


def frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    made = pd.DataFrame(rows)
    for name in ("ordered_at", "known_at"):
        made[name] = pd.array(made[name], dtype="datetime64[us, UTC]")
    return made


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Judge:
    folder = tmp_path_factory.mktemp("judge")
    return Judge(folder / "great expectations", folder / "data docs")


def test_every_ingested_table_has_a_contract() -> None:
    assert set(TABLES) <= set(CONTRACTS)


class TestJudge:
    def test_good_rows_pass(self, judge: Judge) -> None:
        verdict = judge.judge("orders", frame(orders()), NOW, "good")
        assert verdict.passed
        assert (verdict.rows, verdict.rows_named) == (2, [])
        assert verdict.expectations > 8

    def test_no_rows_pass_without_being_asked(self, tmp_path: Path) -> None:
        unused = Judge(tmp_path / "gx", tmp_path / "docs")
        assert unused.judge("orders", frame(orders()).head(0), NOW, "none") == Verdict()
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        ("change", "column", "found"),
        [
            ({"contact_id": None}, "contact_id", None),
            ({"status": "lost"}, "status", "lost"),
            ({"total_cents": -1}, "total_cents", "-1"),
            ({"total_cents": 2**62}, "total_cents", str(2**62)),
            ({"currency": "eur"}, "currency", "eur"),
            ({"currency": "Monopoly money"}, "currency", "Monopoly money"),
            ({"ordered_at": NOW + dt.timedelta(hours=1)}, "ordered_at", "2026-03-01 13:00:00+00:00"),
            ({"ordered_at": NOW + FAR}, "ordered_at", "2925-07-26 12:00:00+00:00"),
            ({"ordered_at": dt.datetime(1, 1, 1, tzinfo=dt.UTC)}, "ordered_at", "0001-01-01 00:00:00+00:00"),
            ({"known_at": dt.datetime(9999, 12, 31, tzinfo=dt.UTC)}, "known_at", "9999-12-31 00:00:00+00:00"),
        ],
    )
    def test_a_broken_row_is_named_and_counted(
        self, judge: Judge, change: dict[str, Any], column: str, found: str | None
    ) -> None:
        verdict = judge.judge("orders", frame(orders(**change)), NOW, f"broken {column}")
        assert not verdict.passed
        assert [count for words, count in verdict.broken.items() if f"({column})" in words] == [1]
        (row,) = [row for row in verdict.rows_named if row.column == column]
        assert (row.key, row.value) == ({"tenant_id": "t", "id": "2"}, found)

    def test_a_clock_some_minutes_ahead_is_forgiven(self, judge: Judge) -> None:
        ahead = frame(orders(ordered_at=NOW + dt.timedelta(minutes=4)))
        assert judge.judge("orders", ahead, NOW, "ahead").passed

    def test_a_score_is_a_probability(self, judge: Judge) -> None:
        row = {
            "tenant_id": "t",
            "contact_id": "c",
            "id": "1",
            "_load_id": 1,
            "model": "churn",
            "model_version": "1",
            "tier": "high",
            "scored_at": pd.Timestamp(NOW),
            "probability": 1.2,
        }
        verdict = judge.judge("scores", pd.DataFrame([row]), NOW, "impossible")
        assert [(row.column, row.value) for row in verdict.rows_named] == [("probability", "1.2")]

    def test_pages_show_it_and_the_oldest_go(self, judge: Judge) -> None:
        for number in range(KEPT_PAGES + 2):
            judge.judge("orders", frame(orders(status="lost")), NOW, f"page {number:02}")
        judge.write_pages()
        page = judge.page("orders", f"page {KEPT_PAGES + 1:02}")
        assert page is not None
        assert "lost" in page.read_text()
        index = (judge.docs / "index.html").read_text()
        assert f"page {KEPT_PAGES + 1:02}" in index
        assert "page 00" not in index
        assert judge.page("orders", "page 00") is None

    def test_pages_need_no_network(self, judge: Judge) -> None:
        judge.judge("orders", frame(orders(status="lost")), NOW, "alone")
        judge.write_pages()
        files = [*judge.docs.rglob("*.html"), *judge.docs.rglob("*.css")]
        assert len(files) > 2
        asked = re.compile(
            r"(?:<script|<link|<img)[^>]*https?://|url\([^)]*https?://|@import[^;]*https?://", re.IGNORECASE
        )
        assert {str(file): found for file in files if (found := asked.findall(file.read_text()))} == {}
        assert 'class="broken">broken<' in (judge.docs / "index.html").read_text()


@pytest.fixture(params=["duckdb", "postgres"])
def warehouse(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Warehouse]:
    columns = ", ".join(f'"{column}" {_type(column)}' for column in CONTRACTS["orders"].columns)
    stamps = "changed_xid bigint, _load_id bigint NOT NULL, created_timestamp timestamptz"
    made = f"CREATE TABLE raw.orders ({columns}, {stamps})"
    if request.param == "duckdb":
        file = DuckDBWarehouse(tmp_path / "warehouse.duckdb")
        file.raw_execute("CREATE SCHEMA raw")
        file.raw_execute(made)
        yield file
        return
    home: Home = request.getfixturevalue("home")
    server, name = EmbeddedPostgres(home), f"boundary_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(server.url("postgres", "postgres_admin", "postgres"), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
        database = PostgresWarehouse(server.url("postgres", "postgres_admin", name))
        database.raw_execute("CREATE SCHEMA raw")
        database.raw_execute(made)
        yield database
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


class TestJudgeNewRows:
    def test_rows_that_passed_are_not_judged_again(self, warehouse: Warehouse, judge: Judge) -> None:
        _arrive(warehouse, orders(), load=1)
        assert _judged(warehouse, judge) == (True, 2)
        _arrive(warehouse, orders()[:1], load=2)
        assert _judged(warehouse, judge) == (True, 1)
        assert _judged(warehouse, judge) == (True, 0)

    def test_a_broken_row_is_set_aside_once_and_the_others_stay(self, warehouse: Warehouse, judge: Judge) -> None:
        _arrive(warehouse, orders(status="lost", tenant_id="other"), load=1)
        ((_, verdict),) = judge_new_rows(warehouse, ["orders"], judge, NOW)
        assert (verdict.passed, verdict.rows, verdict.tenants) == (False, 2, {"other": 1})
        assert _kept(warehouse) == [("1", 1)]
        assert _listed(warehouse) == [("other", "2", "status", "lost")]
        assert set_aside.counts(warehouse) == {"other": [("orders", "column_values_to_be_in_set (status)", 1)]}
        assert _judged(warehouse, judge) == (True, 0)

    def test_a_newer_version_puts_it_right_and_an_older_one_stays_till_then(
        self, warehouse: Warehouse, judge: Judge
    ) -> None:
        _arrive(warehouse, orders(), load=1)
        _judged(warehouse, judge)
        _arrive(warehouse, orders(status="lost"), load=2)
        assert _judged(warehouse, judge) == (False, 2)
        assert _kept(warehouse) == [("1", 1), ("1", 2), ("2", 1)]
        _arrive(warehouse, orders(total_cents=-1), load=3)
        _judged(warehouse, judge)
        assert _listed(warehouse) == [("t", "2", "total_cents", "-1")]
        _arrive(warehouse, orders(), load=4)
        assert _judged(warehouse, judge) == (True, 2)
        assert _listed(warehouse) == []

    def test_of_versions_that_arrive_together_the_good_ones_stay(self, warehouse: Warehouse, judge: Judge) -> None:
        _arrive(warehouse, orders(), load=1)
        _arrive(warehouse, orders(status="lost"), load=2)
        _arrive(warehouse, orders(total_cents=-1), load=3)
        assert _judged(warehouse, judge) == (False, 6)
        assert [version for row, version in _kept(warehouse) if row == "2"] == [1]
        assert _listed(warehouse) == [("t", "2", "total_cents", "-1")]

    def test_what_was_deleted_is_no_longer_listed(self, warehouse: Warehouse, judge: Judge) -> None:
        _arrive(warehouse, orders(status="lost"), load=1)
        _judged(warehouse, judge)
        warehouse.raw_execute("INSERT INTO raw.deletions VALUES ('t', 'orders', '2', NULL, 9, $1, 2, $1)", [NOW])
        _judged(warehouse, judge)
        assert _listed(warehouse) == []

    def test_a_time_that_is_to_come_is_waited_for(self, warehouse: Warehouse, judge: Judge) -> None:
        due = NOW + dt.timedelta(days=1)
        lost = {"id": "3", "status": "lost", "ordered_at": due}
        _arrive(warehouse, [*orders(ordered_at=due, known_at=due), GOOD | lost], load=1)
        _judged(warehouse, judge)
        with open_raw(warehouse) as raw:
            assert set_aside.due(raw, "orders", due - dt.timedelta(minutes=1)) == []
            assert set_aside.due(raw, "orders", due) == [("t", "2")]

    def test_another_contract_judges_all_again(
        self, warehouse: Warehouse, judge: Judge, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        _arrive(warehouse, orders(status="lost"), load=1)
        _judged(warehouse, judge)
        stricter = dataclasses.replace(CONTRACTS["orders"], between={"total_cents": (2_000, 3_000)})
        monkeypatch.setitem(CONTRACTS, "orders", stricter)
        assert _judged(warehouse, judge) == (False, 1)
        assert [row for _, row, *_ in _listed(warehouse)] == ["1", "2"]
        with open_raw(warehouse) as raw:
            assert set_aside.due(raw, "orders", NOW) == [("t", "2")]

    def test_many_rows_are_judged_in_parts(
        self, warehouse: Warehouse, judge: Judge, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(boundary, "JUDGED_ROWS", 100)
        bad = {"status": "lost"}
        _arrive(warehouse, [GOOD | {"id": str(number)} | (bad if number % 2 else {}) for number in range(350)], load=1)
        ((_, verdict),) = judge_new_rows(warehouse, ["orders"], judge, NOW)
        assert verdict.rows == 350
        assert verdict.broken == {"column_values_to_be_in_set (status)": 175}
        assert len(_listed(warehouse)) == 175
        judge.write_pages()
        assert judge.page("orders", verdict.run or "") is not None


def _type(column: str) -> str:
    return "bigint" if column == "total_cents" else "timestamptz" if column.endswith("_at") else "text"


def _arrive(warehouse: Warehouse, rows: list[dict[str, Any]], load: int) -> None:
    arrived = [row | {"changed_xid": load, "_load_id": load, "created_timestamp": NOW} for row in rows]
    numbers = itertools.count(1)
    marks = ", ".join(f"({', '.join(f'${next(numbers)}' for _ in row)})" for row in arrived)
    values = [value for row in arrived for value in row.values()]
    warehouse.raw_execute(f"INSERT INTO raw.orders ({', '.join(arrived[0])}) VALUES {marks}", values)


def _judged(warehouse: Warehouse, judge: Judge) -> tuple[bool, int]:
    ((_, verdict),) = judge_new_rows(warehouse, ["orders"], judge, NOW)
    return verdict.passed, verdict.rows


def _kept(warehouse: Warehouse) -> list[tuple[str, int]]:
    """(id, load) of the versions in raw."""
    return list(warehouse.raw_query("SELECT id, _load_id FROM raw.orders ORDER BY 1, 2").iter_rows())


def _listed(warehouse: Warehouse) -> list[tuple[str, str, str, str]]:
    return list(
        warehouse.raw_query(
            "SELECT tenant_id, row_id, column_name, found FROM raw._set_aside ORDER BY row_id, column_name"
        ).iter_rows()
    )
