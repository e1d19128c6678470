"""Rows are judged once: a table's watermark moves only when its rows keep the contract, so that a broken row is judged
again by every later run and keeps stopping what depends on it, until a newer version of it puts it right.

`raw._broken_rows` lists the rows that stand in the way now, `raw._contracts_kept` the load up to which a table is good.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from feature_store.warehouse import Warehouse
from orchestration.defs.ingest.contracts import CONTRACTS
from orchestration.defs.ingest.judging import Judge, Verdict

if TYPE_CHECKING:
    import pyarrow as pa

# Judged at once, so that a first load of millions stays within memory.
JUDGED_ROWS = 500_000
ROWS_A_STATEMENT = 100
TABLES = (
    "CREATE TABLE IF NOT EXISTS raw._contracts_kept (table_name text PRIMARY KEY, load_id bigint NOT NULL)",
    """CREATE TABLE IF NOT EXISTS raw._broken_rows (table_name text NOT NULL, row_key text NOT NULL,
        column_name text NOT NULL, expectation text NOT NULL, found text, judged_at timestamptz NOT NULL)""",
)


def judge_new_rows(
    warehouse: Warehouse, tables: Sequence[str], judge: Judge, now: dt.datetime
) -> Iterator[tuple[str, Verdict]]:
    """Each table with the verdict on its rows that arrived since its contract last held; moves the watermark when it
    holds. Of a row that arrived in several versions the newest is judged."""
    for statement in TABLES:
        warehouse.raw_execute(statement)
    loads = " UNION ALL ".join(
        f"SELECT '{table}' AS table_name, max(_load_id) AS newest FROM raw.{table}" for table in tables
    )
    found = warehouse.raw_query(
        f"SELECT l.table_name, l.newest, coalesce(k.load_id, 0) AS kept FROM ({loads}) AS l"
        " LEFT JOIN raw._contracts_kept AS k ON k.table_name = l.table_name"
    )
    newest_and_kept = {str(table): (newest, int(kept)) for table, newest, kept in found.iter_rows()}
    for table in tables:
        newest, kept = newest_and_kept[table]
        verdict = Verdict()
        if newest is not None and newest > kept:
            verdict = _judged(warehouse, table, judge, now, kept, int(newest))
            _remember(warehouse, table, verdict, int(newest), now)
        yield table, verdict


def _judged(warehouse: Warehouse, table: str, judge: Judge, now: dt.datetime, kept: int, newest: int) -> Verdict:
    columns = ", ".join(f'"{column}"' for column in CONTRACTS[table].columns)
    keys = ", ".join(f'"{key}"' for key in CONTRACTS[table].keys)
    new = f"FROM raw.{table} WHERE _load_id > $1 AND _load_id <= $2"
    oldest = warehouse.raw_query(f"SELECT min(_load_id) AS load_id {new}", [kept, newest])["load_id"][0]
    # One load holds a row once, so that a first load of millions needs no sorting.
    arrived = (
        f"SELECT {columns} {new}"
        if oldest == newest
        else f"SELECT {columns} FROM (SELECT {columns},"
        f" row_number() OVER (PARTITION BY {keys} ORDER BY _load_id DESC) AS nth {new}) AS versions WHERE nth = 1"
    )
    verdict = Verdict()
    with warehouse.raw_batches(arrived, [kept, newest], JUDGED_ROWS) as batches:
        for number, part in enumerate(_parts(batches), 1):
            verdict.add(judge.judge(table, part.to_pandas(), now, f"load {newest:06}, part {number}"))
    return verdict


def _parts(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """The batches put together, JUDGED_ROWS rows at a time: databases hand over small ones, and each judging costs."""
    import pyarrow as pa

    waiting: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        waiting.append(batch)
        rows += batch.num_rows
        if rows >= JUDGED_ROWS:
            yield pa.Table.from_batches(waiting)
            waiting, rows = [], 0
    if waiting:
        yield pa.Table.from_batches(waiting)


def _remember(warehouse: Warehouse, table: str, verdict: Verdict, newest: int, now: dt.datetime) -> None:
    warehouse.raw_execute("DELETE FROM raw._broken_rows WHERE table_name = $1", [table])
    for start in range(0, len(verdict.rows_named), ROWS_A_STATEMENT):
        rows = verdict.rows_named[start : start + ROWS_A_STATEMENT]
        marks = ", ".join(
            "(" + ", ".join(f"${6 * number + place}" for place in range(1, 7)) + ")" for number in range(len(rows))
        )
        values = [
            value for row in rows for value in (table, json.dumps(row.key), row.column, row.expectation, row.value, now)
        ]
        warehouse.raw_execute(f"INSERT INTO raw._broken_rows VALUES {marks}", values)
    if verdict.passed:
        warehouse.raw_execute(
            "INSERT INTO raw._contracts_kept VALUES ($1, $2)"
            " ON CONFLICT (table_name) DO UPDATE SET load_id = excluded.load_id",
            [table, newest],
        )
