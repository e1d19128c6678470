"""Rows that break a contract are named, counted and stop the run; rows that keep it pass once."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import psycopg
import pytest

from feature_store.ingest import TABLES
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
}


def orders(**changed: object) -> list[dict[str, Any]]:
    return [GOOD, GOOD | {"id": "2"} | changed]


def frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    return pd.DataFrame([row | {name: pd.Timestamp(row[name]) for name in ("ordered_at", "known_at")} for row in rows])


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
            ({"ordered_at": NOW + dt.timedelta(hours=1)}, "ordered_at", "2026-03-01 13:00:00+00:00"),
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
    made = f"CREATE TABLE raw.orders ({columns}, changed_xid bigint, _load_id bigint NOT NULL)"
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

    def test_broken_rows_are_judged_again_until_they_are_put_right(self, warehouse: Warehouse, judge: Judge) -> None:
        _arrive(warehouse, orders(status="lost"), load=1)
        assert _judged(warehouse, judge) == (False, 2)
        _arrive(warehouse, [row | {"id": f"{row['id']}0"} for row in orders()], load=2)
        assert _judged(warehouse, judge) == (False, 4)
        assert _listed(warehouse) == [({"tenant_id": "t", "id": "2"}, "status", "lost")]
        _arrive(warehouse, orders(), load=3)
        assert _judged(warehouse, judge) == (True, 4)
        assert _listed(warehouse) == []

    def test_many_rows_are_judged_in_parts(
        self, warehouse: Warehouse, judge: Judge, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(boundary, "JUDGED_ROWS", 100)
        bad = {"status": "lost"}
        _arrive(warehouse, [GOOD | {"id": str(number)} | (bad if number % 2 else {}) for number in range(350)], load=1)
        (verdict,) = [verdict for _, verdict in judge_new_rows(warehouse, ["orders"], judge, NOW)]
        assert verdict.rows == 350
        assert verdict.broken == {"column_values_to_be_in_set (status)": 175}
        assert len(_listed(warehouse)) == 175
        judge.write_pages()
        assert judge.page("orders", verdict.run or "") is not None


def _type(column: str) -> str:
    return "bigint" if column == "total_cents" else "timestamptz" if column.endswith("_at") else "text"


def _arrive(warehouse: Warehouse, rows: list[dict[str, Any]], load: int) -> None:
    arrived = [row | {"changed_xid": load, "_load_id": load} for row in rows]
    numbers = itertools.count(1)
    marks = ", ".join(f"({', '.join(f'${next(numbers)}' for _ in row)})" for row in arrived)
    values = [value for row in arrived for value in row.values()]
    warehouse.raw_execute(f"INSERT INTO raw.orders ({', '.join(arrived[0])}) VALUES {marks}", values)


def _judged(warehouse: Warehouse, judge: Judge) -> tuple[bool, int]:
    ((_, verdict),) = judge_new_rows(warehouse, ["orders"], judge, NOW)
    return verdict.passed, verdict.rows


def _listed(warehouse: Warehouse) -> list[tuple[dict[str, str], str, str]]:
    found = warehouse.raw_query("SELECT row_key, column_name, found FROM raw._broken_rows ORDER BY row_key")
    return [(json.loads(key), column, value) for key, column, value in found.iter_rows()]
