"""PostgreSQL to the warehouse's raw schema: every version of every row, none missed, none doubled.

Rows are picked by transaction, not by time. `changed_xid` is the transaction that wrote a row last; whatever lies below
the oldest transaction still running (`pg_snapshot_xmin`) is final. A run reads from where the last one stopped up to
that horizon, and records the new horizon in the same DuckDB transaction as the rows.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from feature_store.warehouse import DuckDBWarehouse, Warehouse

TABLES = (
    "tenants",
    "campaigns",
    "contacts",
    "consents",
    "consent_events",
    "conversations",
    "messages",
    "message_status_events",
    "replies",
    "orders",
    "order_items",
    "conversions",
    "outbound_messages",
    "decisions",
)
# What people wrote stays in the operational database; its length is what the warehouse needs of it.
MEASURED = {("messages", "text"): "text_length", ("replies", "text"): "text_length"}
HORIZONS = "CREATE TABLE IF NOT EXISTS raw._horizons (table_name varchar PRIMARY KEY, horizon ubigint NOT NULL)"
COLUMNS = """
    SELECT a.attname, format_type(a.atttypid, a.atttypmod) FROM pg_attribute a
    WHERE a.attrelid = 'public.{table}'::regclass AND a.attnum > 0 AND NOT a.attisdropped
      AND has_column_privilege(a.attrelid, a.attnum, 'SELECT') ORDER BY a.attnum
"""
DUCKDB_TYPES = {
    "uuid": "varchar",
    "text": "varchar",
    "jsonb": "varchar",
    "boolean": "boolean",
    "integer": "integer",
    "bigint": "bigint",
    "double precision": "double",
    "timestamp with time zone": "timestamptz",
    "text[]": "varchar[]",
    "xid8": "ubigint",
}


class SourceSchemaChanged(Exception):
    """A table of the operational database is no longer what the warehouse took it for; nothing of it was ingested."""


@dataclass(frozen=True)
class IngestedTable:
    """`rows` is the number of row versions added; `horizon` the transaction id up to which the table is complete."""

    name: str
    rows: int
    seconds: float
    horizon: int


def ingest(
    operational_url: str, warehouse: Warehouse, tables: Sequence[str] | None = None, *, now: dt.datetime
) -> list[IngestedTable]:
    """One entry per table, in the order asked (all tables without `tables`).

    `operational_url` enters as `etl_read`. Memory is bounded by a batch of rows. Raises SourceSchemaChanged.
    """
    import adbc_driver_postgresql.dbapi

    assert isinstance(warehouse, DuckDBWarehouse)  # noqa: S101 - the only kind that takes raw rows so far
    found = []
    with (
        adbc_driver_postgresql.dbapi.connect(operational_url) as source,
        warehouse.connect_raw(read_only=False) as target,
    ):
        target.execute("CREATE SCHEMA IF NOT EXISTS raw")
        target.execute(HORIZONS)
        # One snapshot and one horizon for all tables: a row and what it refers to arrive together.
        with source.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        horizon = int(_rows(source, "SELECT pg_snapshot_xmin(pg_current_snapshot())::text")[0][0])
        for table in tables or TABLES:
            started = time.perf_counter()
            rows = _ingest_table(source, target, table, horizon, now)
            found.append(IngestedTable(table, rows, time.perf_counter() - started, horizon))
    return found


def _ingest_table(source: Any, target: Any, table: str, horizon: int, now: dt.datetime) -> int:
    if table not in TABLES:
        raise ValueError(f"{table} is not ingested; there are: {', '.join(TABLES)}")
    described = [(str(name), str(kind)) for name, kind in _rows(source, COLUMNS.format(table=table))]
    columns = {
        MEASURED.get((table, name), name): "integer" if (table, name) in MEASURED else _duckdb_type(table, name, kind)
        for name, kind in described
    }
    _ensure_table(target, table, columns)
    last = target.execute("SELECT horizon FROM raw._horizons WHERE table_name = ?", [table]).fetchone()
    since = int(last[0]) if last else 0
    selected = ", ".join(
        f'length("{name}") AS "{MEASURED[table, name]}"'
        if (table, name) in MEASURED
        else _as_arrow(name, _duckdb_type(table, name, kind))
        for name, kind in described
    )
    names = ", ".join(f'"{name}"' for name in columns)
    casts = ", ".join(f'CAST("{name}" AS {kind})' for name, kind in columns.items())
    rows = 0
    target.execute("BEGIN")
    try:
        with source.cursor() as cursor:
            cursor.execute(
                f"SELECT {selected} FROM public.{table}"
                f" WHERE changed_xid >= '{since}'::xid8 AND changed_xid < '{horizon}'::xid8"
            )
            for batch in cursor.fetch_record_batch():
                target.register("arrived", pa.Table.from_batches([batch]))
                target.execute(
                    f"INSERT INTO raw.{table} ({names}, created_timestamp) SELECT {casts}, ?::timestamptz FROM arrived",
                    [now],
                )
                target.unregister("arrived")
                rows += batch.num_rows
        target.execute("INSERT OR REPLACE INTO raw._horizons VALUES (?, ?)", [table, horizon])
        target.execute("COMMIT")
    except BaseException:
        target.execute("ROLLBACK")
        raise
    return rows


def _ensure_table(target: Any, table: str, columns: dict[str, str]) -> None:
    known = {
        str(name): str(kind).lower()
        for name, kind in target.execute(
            "SELECT column_name, data_type FROM information_schema.columns"
            " WHERE table_schema = 'raw' AND table_name = ?",
            [table],
        ).fetchall()
        if name != "created_timestamp"
    }
    if not known:
        described = ", ".join(f'"{name}" {kind}' for name, kind in columns.items())
        target.execute(f"CREATE TABLE raw.{table} ({described}, created_timestamp timestamptz NOT NULL)")
        return
    wanted = {name: _spelled(kind) for name, kind in columns.items()}
    if known != wanted:
        gone = sorted(set(known) - set(wanted))
        new = sorted(set(wanted) - set(known))
        retyped = sorted(name for name in set(known) & set(wanted) if known[name] != wanted[name])
        raise SourceSchemaChanged(
            f"{table}: columns gone: {', '.join(gone) or 'none'}; new: {', '.join(new) or 'none'};"
            f" of another type: {', '.join(retyped) or 'none'}. Alter raw.{table} to match, then run again"
        )


def _duckdb_type(table: str, name: str, kind: str) -> str:
    if kind not in DUCKDB_TYPES:
        raise SourceSchemaChanged(f"{table}.{name} has the type {kind}, which the warehouse does not take")
    return DUCKDB_TYPES[kind]


def _spelled(kind: str) -> str:
    return {"timestamptz": "timestamp with time zone"}.get(kind, kind)


def _as_arrow(name: str, kind: str) -> str:
    """Types that ADBC would hand over as opaque bytes are read as text."""
    return f'"{name}"::text AS "{name}"' if kind in ("varchar", "ubigint") else f'"{name}"'


def _rows(source: Any, query: str) -> list[tuple[Any, ...]]:
    with source.cursor() as cursor:
        cursor.execute(query)
        return list(cursor.fetchall())
