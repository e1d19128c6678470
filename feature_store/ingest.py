"""PostgreSQL to the warehouse's raw schema: every version of every row, none missed, none doubled, none kept that was
deleted.

Rows are picked by transaction, not by time. `changed_xid` is the transaction that wrote a row last. A run reads, in one
snapshot, the rows whose transaction the last run's snapshot did not see, however late it was committed, and records its
own snapshot in the same transaction of the warehouse as the rows. So each load makes raw what the source was at one
moment: its newest versions by `_load_id` (not by `changed_xid`: an older transaction may write a row after a younger
one). Deletions come the same way, from the tombstones a trigger writes (`deleted_rows`). A row that was set aside
because its time had not come is read once more when it has.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Sequence
from dataclasses import dataclass

from feature_store import set_aside
from feature_store.ingest_raw import Load, Raw, WarehouseFull, open_raw
from feature_store.ingest_source import (
    TABLES,
    Column,
    Source,
    SourceReplaced,
    SourceSchemaChanged,
    new_since,
    open_source,
    select,
    wanted_tables,
)
from feature_store.warehouse import Warehouse

__all__ = ["TABLES", "IngestedTable", "SourceReplaced", "SourceSchemaChanged", "WarehouseFull", "ingest"]

DELETIONS = """
    SELECT tenant_id::text AS tenant_id, table_name, row_id::text AS row_id, contact_id::text AS contact_id,
        changed_xid::text::bigint AS changed_xid, deleted_at
    FROM public.deleted_rows WHERE table_name = '{table}' AND {new}
"""


@dataclass(frozen=True)
class IngestedTable:
    """`rows` is the number of row versions added, `deleted` of deletions applied; `horizon` the transaction id below
    which the table is complete (some later ones are in it too)."""

    name: str
    rows: int
    seconds: float
    horizon: int
    deleted: int = 0
    load_id: int = 0


def ingest(
    operational_url: str, warehouse: Warehouse, tables: Sequence[str] | None = None, *, now: dt.datetime
) -> list[IngestedTable]:
    """One entry per table, in the order asked (all tables without `tables`); all of them are one load.

    `operational_url` enters as `etl_read`. Memory is bounded, whatever the number of rows. A table is ingested whole or
    not at all. Raises SourceSchemaChanged, SourceReplaced, WarehouseFull; duckdb.IOException while another process
    writes the warehouse.
    """
    wanted = wanted_tables(tables)
    with open_source(operational_url) as source, open_raw(warehouse) as raw:
        described = {table: source.columns(table) for table in wanted}
        with raw.transaction():
            raw.ensure(described)
            load = raw.next_load("ingest", now, source.horizon)
            raw.record(load)
        return [_ingest_table(source, raw, table, described[table], load) for table in wanted]


def _ingest_table(source: Source, raw: Raw, table: str, columns: list[Column], load: Load) -> IngestedTable:
    started = time.perf_counter()
    since = raw.snapshot(table)
    source.require_after(table, since)
    arriving = new_since(since)
    with raw.transaction():
        rows = raw.append(table, source.batches(select(table, columns, arriving)), load)
        for waited_for in source.conditions(table, set_aside.due(raw, table, load.now)):
            again = select(table, columns, f"NOT ({arriving}) AND {waited_for}")
            rows += raw.append(table, source.batches(again), load)
        deleted = raw.append("deletions", source.batches(DELETIONS.format(table=table, new=arriving)), load)
        if deleted:
            raw.apply_deletions(table, load)
            raw.settle("deletions")
        raw.move_to(table, source)
        if rows or not since:
            raw.settle(table)
    return IngestedTable(table, rows, time.perf_counter() - started, source.horizon, deleted, load.id)
