"""The operational database as ingest reads it: its tables, their columns, and which rows are final."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

if TYPE_CHECKING:
    import pyarrow as pa

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
    "scores",
    "usage_records",
)
# What people wrote stays in the operational database; its length is what the warehouse needs of it.
MEASURED = {("messages", "text"): "text_length", ("replies", "text"): "text_length"}
# How a source type is kept. Types that ADBC would hand over as opaque bytes travel as text.
KINDS = {
    "uuid": "text",
    "text": "text",
    "jsonb": "text",
    "xid8": "bigint",
    "boolean": "boolean",
    "integer": "integer",
    "bigint": "bigint",
    "double precision": "double precision",
    "date": "date",
    "timestamp with time zone": "timestamp with time zone",
    "text[]": "text[]",
}
COLUMNS = """
    SELECT a.attname, format_type(a.atttypid, a.atttypmod) FROM pg_attribute a
    WHERE a.attrelid = 'public.{table}'::regclass AND a.attnum > 0 AND NOT a.attisdropped
      AND has_column_privilege(a.attrelid, a.attnum, 'SELECT') ORDER BY a.attnum
"""
BATCH_BYTES = 4 << 20
IDS_A_QUESTION = 1_000
# Drivers and engines end their calendars in other years; what lies outside arrives as one of these ends.
ENDS = {
    "timestamp with time zone": ("'0001-01-01 00:00:00+00'::timestamptz", "'9999-12-31 00:00:00+00'::timestamptz"),
    "date": ("'0001-01-01'::date", "'9999-12-31'::date"),
}


class SourceSchemaChanged(Exception):
    """A table of the operational database is no longer what the warehouse took it for; nothing was ingested. `repair`
    holds the statements that make raw tables take it as it is now, for Warehouse.raw_execute."""

    def __init__(self, message: str, repair: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.repair = tuple(repair)


class SourceReplaced(Exception):
    """The operational database's transactions lie behind what was ingested already: it is a restored or another one."""


@dataclass(frozen=True)
class Column:
    """`name` and `kind` in raw; `selected` is what gives it in the source."""

    name: str
    kind: str
    selected: str


@dataclass(frozen=True)
class Source:
    """The operational database as of one `snapshot` (PostgreSQL's `pg_snapshot`). `horizon` is its xmin: all rows of
    transactions below are in it, for good."""

    connection: Any
    snapshot: str = ""

    @property
    def horizon(self) -> int:
        return int(self.snapshot.split(":")[0])

    def columns(self, table: str) -> list[Column]:
        """What may be read of a table, in its order. Raises SourceSchemaChanged."""
        return [_column(table, str(name), str(kind)) for name, kind in self.rows(COLUMNS.format(table=table))]

    def require_after(self, table: str, since: str) -> None:
        """Raises SourceReplaced when raw holds the table as of a snapshot that has yet to come here."""
        if since and int(since.split(":")[0]) > self.horizon:
            raise SourceReplaced(
                f"raw.{table} is complete up to transaction {since.split(':')[0]}, but the oldest one that runs in the"
                f" operational database is {self.horizon}: it was restored from a backup, or is another one. Start a"
                " new warehouse for it"
            )

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with self.connection.cursor() as cursor:
            cursor.execute(query)
            return list(cursor.fetchall())

    @staticmethod
    def conditions(table: str, rows: Sequence[tuple[str, str]]) -> Iterator[str]:
        """Conditions that select these rows, (tenant, id) each, by the primary key, so many at a time."""
        key = "(id, id)" if table == "tenants" else "(tenant_id, id)"
        for start in range(0, len(rows), IDS_A_QUESTION):
            named = ", ".join(
                f"('{UUID(tenant)}', '{UUID(row)}')" for tenant, row in rows[start : start + IDS_A_QUESTION]
            )
            yield f"{key} IN ({named})"

    def batches(self, query: str) -> Iterator[pa.RecordBatch]:
        """The rows of a SELECT, a few megabytes at a time."""
        with self.connection.cursor() as cursor:
            cursor.adbc_statement.set_options(**{"adbc.postgresql.batch_size_hint_bytes": str(BATCH_BYTES)})
            cursor.execute(query)
            yield from cursor.fetch_record_batch()


@contextlib.contextmanager
def open_source(operational_url: str) -> Iterator[Source]:
    """One snapshot for all tables: a row and what it refers to arrive together."""
    import adbc_driver_postgresql.dbapi

    with adbc_driver_postgresql.dbapi.connect(operational_url) as connection:
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        ((snapshot,),) = Source(connection).rows("SELECT pg_current_snapshot()::text")
        yield Source(connection, str(snapshot))


def wanted_tables(tables: Sequence[str] | None) -> tuple[str, ...]:
    """`tables`, or all. Raises ValueError for one that is not ingested."""
    unknown = [table for table in tables or () if table not in TABLES]
    if unknown:
        raise ValueError(f"{unknown[0]} is not ingested; there are: {', '.join(TABLES)}")
    return tuple(tables or TABLES)


def select(table: str, columns: Sequence[Column], condition: str) -> str:
    selected = ", ".join(f'{column.selected} AS "{column.name}"' for column in columns)
    return f"SELECT {selected} FROM public.{table} WHERE {condition}"


def new_since(snapshot: str) -> str:
    """The condition that a row was written by a transaction the earlier snapshot did not see; all rows for none."""
    if not snapshot:
        return "true"
    xmin = snapshot.split(":")[0]
    # The comparison finds the few by the index; the function leaves out those of them that were seen.
    return f"changed_xid >= '{xmin}'::xid8 AND NOT pg_visible_in_snapshot(changed_xid, '{snapshot}'::pg_snapshot)"


def _column(table: str, name: str, kind: str) -> Column:
    if (table, name) in MEASURED:
        return Column(MEASURED[table, name], "integer", f'length("{name}")')
    if kind not in KINDS:
        raise SourceSchemaChanged(f"{table}.{name} has the type {kind}, which the warehouse does not take")
    if kind == "xid8":
        return Column(name, "bigint", f'"{name}"::text::bigint')
    if kind in ENDS:
        first, last = ENDS[kind]
        clamped = f'CASE WHEN "{name}" < {first} THEN {first} WHEN "{name}" > {last} THEN {last} ELSE "{name}" END'
        return Column(name, KINDS[kind], clamped)
    return Column(name, KINDS[kind], f'"{name}"::text' if kind in ("uuid", "jsonb") else f'"{name}"')
