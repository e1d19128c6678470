"""Row versions that break their table's contract, taken out of raw: one row per version, column and reason.

A version leaves the list when a newer one of its row arrives, or its row is deleted. One whose time has not come is
read from the source again when it has. What the row says besides stays in the source.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from feature_store.ingest_raw import Load, Raw
from feature_store.warehouse import DuckDBWarehouse, Warehouse

if TYPE_CHECKING:
    import pyarrow as pa

TABLE = "_set_aside"
# Read again by one load at most; the next one takes up the others.
READ_AGAIN = 10_000


def due(raw: Raw, table: str, now: dt.datetime) -> list[tuple[str, str]]:
    """(tenant, id) of the rows set aside that may keep the contract by now: every time they wait for has come."""
    found = raw.rows(
        f"SELECT tenant_id, row_id FROM raw.{TABLE} WHERE table_name = $1 GROUP BY tenant_id, row_id"
        f" HAVING count(*) = count(retry_at) AND max(retry_at) <= $2 ORDER BY row_id LIMIT {READ_AGAIN}",
        [table, now],
    )
    return [(str(tenant), str(row)) for tenant, row in found]


def settle(raw: Raw, table: str, after: int) -> None:
    """Takes off the list what a newer version, of a load later than `after`, has replaced, and what was deleted."""
    raw.execute(
        f"DELETE FROM raw.{TABLE} USING raw.{table} AS newer WHERE {TABLE}.table_name = $1"
        f" AND newer.id = {TABLE}.row_id AND newer._load_id > {TABLE}.row_load AND newer._load_id > $2",
        [table, after],
    )
    raw.execute(
        f"DELETE FROM raw.{TABLE} USING raw.{TABLE} AS newer WHERE {TABLE}.table_name = $1 AND newer.table_name = $1"
        f" AND newer.row_id = {TABLE}.row_id AND newer.row_load > {TABLE}.row_load",
        [table],
    )
    forget_deleted(raw)


def forget_deleted(raw: Raw) -> None:
    """Takes off the list the versions of rows that were deleted since."""
    raw.execute(
        f"DELETE FROM raw.{TABLE} USING raw.deletions AS gone WHERE gone.table_name = {TABLE}.table_name"
        f" AND gone.row_id = {TABLE}.row_id AND gone._load_id > {TABLE}.row_load"
    )


def retry_all(raw: Raw, table: str, now: dt.datetime) -> None:
    """All of the table's are read again by the next load: the contract is another one."""
    raw.execute(f"UPDATE raw.{TABLE} SET retry_at = $1 WHERE table_name = $2", [now, table])


def set_aside(raw: Raw, table: str, reasons: Sequence[pa.Table], load: Load) -> None:
    """Moves the versions that `reasons` name out of raw onto the list. Columns of `reasons`: table_name, tenant_id,
    row_id, row_load, column_name, expectation, found, retry_at."""
    if not reasons:
        return

    def arriving() -> Iterator[pa.RecordBatch]:
        for part in reasons:
            yield from part.to_batches()

    raw.append(TABLE, arriving(), load)
    raw.execute(
        f"DELETE FROM raw.{table} USING raw.{TABLE} AS aside WHERE aside.table_name = $1 AND aside.row_id = {table}.id"
        f" AND aside.row_load = {table}._load_id",
        [table],
    )


def counts(warehouse: Warehouse) -> dict[str, list[tuple[str, str, int]]]:
    """By tenant: (table, what is wrong in words, rows), of what is set aside now."""
    if isinstance(warehouse, DuckDBWarehouse) and not warehouse.raw_path.exists():
        return {}
    if warehouse.raw_query(
        "SELECT 1 AS one FROM information_schema.tables WHERE table_schema = 'raw' AND table_name = $1", [TABLE]
    ).is_empty():
        return {}
    found = warehouse.raw_query(
        "SELECT tenant_id, table_name, expectation || ' (' || column_name || ')' AS wrong,"
        f" count(DISTINCT row_id) AS counted FROM raw.{TABLE} GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
    )
    told: dict[str, list[tuple[str, str, int]]] = {}
    for tenant, table, wrong, counted in found.iter_rows():
        told.setdefault(str(tenant), []).append((str(table), str(wrong), int(counted)))
    return told
