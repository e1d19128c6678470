"""Rows are judged once. A version of a row that breaks its table's contract is set aside with its tenant and the
reason: it leaves raw, where the last version that kept the contract stays, and every other row goes on.

`raw._set_aside` lists them, `raw._contracts` tells up to which load a table was judged, and by which contract.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from feature_store import set_aside
from feature_store.ingest_raw import Load, Raw, open_raw
from feature_store.warehouse import Warehouse
from orchestration.defs.ingest.contracts import CONTRACTS
from orchestration.defs.ingest.judging import Judge, Verdict

if TYPE_CHECKING:
    import pyarrow as pa

# Judged at once, so that a first load of millions stays within memory.
JUDGED_ROWS = 500_000


def judge_new_rows(
    warehouse: Warehouse, tables: Sequence[str], judge: Judge, now: dt.datetime
) -> list[tuple[str, Verdict]]:
    """Each table with the verdict on its rows that arrived since it was judged last; those that break the contract are
    set aside. A table whose contract has changed is judged whole."""
    with open_raw(warehouse) as raw:
        kept = {table: _judged_up_to(raw, table) for table in tables}
        newest = {table: _newest(raw, table) for table in tables}
    verdicts = []
    for table in tables:
        verdict = Verdict()
        if newest[table] > (kept[table] or 0):
            verdict = _judged(warehouse, table, judge, now, kept[table] or 0, newest[table])
        verdicts.append((table, verdict))
    with open_raw(warehouse) as raw:
        for table, verdict in verdicts:
            with raw.transaction():
                _remember(raw, table, verdict, kept[table], newest[table], now)
    return verdicts


def _judged_up_to(raw: Raw, table: str) -> int | None:
    """The load; None when the table was never judged by this contract."""
    found = raw.rows(
        "SELECT load_id FROM raw._contracts WHERE table_name = $1 AND contract = $2", [table, CONTRACTS[table].digest]
    )
    return int(found[0][0]) if found else None


def _newest(raw: Raw, table: str) -> int:
    ((load,),) = raw.rows(f"SELECT coalesce(max(_load_id), 0) FROM raw.{table}")
    return int(load)


def _judged(warehouse: Warehouse, table: str, judge: Judge, now: dt.datetime, kept: int, newest: int) -> Verdict:
    """Of a row that arrived in several versions each is judged: models read the older ones too."""
    columns = ", ".join(f'"{column}"' for column in [*CONTRACTS[table].columns, "_load_id"])
    arrived = f"SELECT {columns} FROM raw.{table} WHERE _load_id > $1 AND _load_id <= $2"
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


def _remember(raw: Raw, table: str, verdict: Verdict, kept: int | None, newest: int, now: dt.datetime) -> None:
    if kept is None:
        set_aside.retry_all(raw, table, now)
    set_aside.set_aside(raw, table, verdict.reasons, Load(newest, "boundary", now, 0))
    set_aside.settle(raw, table, kept or 0)
    raw.execute(
        "INSERT INTO raw._contracts VALUES ($1, $2, $3) ON CONFLICT (table_name)"
        " DO UPDATE SET load_id = excluded.load_id, contract = excluded.contract",
        [table, max(newest, kept or 0), CONTRACTS[table].digest],
    )
