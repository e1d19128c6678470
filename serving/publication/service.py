"""Marts of the warehouse, published to PostgreSQL: every tenant reads its own rows, and always those of one snapshot.

Each table is loaded beside the one that serves, with row-level security from its first moment, and all of them take
their places in one transaction. What readers see:

- never a table that is missing, empty or half written, and never two snapshots in one transaction: who has read a
  table of the schema holds it until the transaction ends, and the swap waits for that. Rows are loaded frozen, so a
  transaction whose snapshot is older than the load sees them too;
- at most the longest of LOCK_WAITS of delay: a swap that is not let in by then steps back and tries again later. It
  waits less than PostgreSQL does before it looks for deadlocks, so it is the swap that gives way and no reader fails.

A tenant that is held keeps the rows of its last publication in every table, and a note says why.
"""

from __future__ import annotations

import datetime as dt
import itertools
import logging
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
from psycopg import sql

from serving.migrations.isolation import CURRENT_TENANT
from serving.publication import notes as tenant_notes
from serving.publication.columns import InvalidMart, as_csv, column_types, key_columns
from serving.publication.notes import NOTES, SCHEMA, Note

log = logging.getLogger(__name__)

PUBLICATIONS = "publications"
# Of one attempt after the other, and again from the first. A short wait gets in between readers that take the tables in
# another order than the swap, and would stand in its way as it in theirs; a long one outlasts those that are slow.
LOCK_WAITS = tuple(dt.timedelta(milliseconds=wait) for wait in (25, 50, 100, 200, 400))
PATIENCE = dt.timedelta(minutes=5)
OWN_ROWS = f"tenant_id = {CURRENT_TENANT}"
ADVISORY_LOCK = 7_203_114_003
_NEXT = "__next"
# With its suffixes it must fit into the 63 bytes of a name.
_NAME = re.compile(r"[a-z][a-z0-9_]{0,49}")
_LONGEST_PAUSE = dt.timedelta(seconds=5)


class PublicationBlocked(Exception):
    """Readers, or another publication, did not let the swap in; what served before serves on."""


@dataclass(frozen=True, slots=True)
class PublishedTable:
    """One table of a publication. `rows` counts those of all tenants; `seconds` is the time its load took."""

    name: str
    rows: int
    seconds: float


def publish_marts(
    database_url: str,
    tables: Mapping[str, Iterable[pa.RecordBatch]],
    snapshot_id: str,
    as_of: dt.datetime,
    now: dt.datetime,
    *,
    notes: Mapping[str, Note] | None = None,
    patience: dt.timedelta = PATIENCE,
) -> list[PublishedTable]:
    """The tables that serve from now on: exactly `tables`; one that was published before and is not among them is gone.

    `database_url` is the operational database, as role `publisher`. Each value of `tables` yields the mart's record
    batches and has its `schema` (a pyarrow.RecordBatchReader, or a pyarrow.Table's `to_reader()`); it is read once,
    batch by batch. `as_of` is the moment the figures are true for, `now` becomes `published_at`. `notes` by tenant id
    tell which tenants are held, and what is left out of whose figures. Whatever goes wrong, the last publication serves
    on. Blocks for the load and up to `patience` for each lock.

    Raises: InvalidMart before anything is written, or for a row that is no row of any tenant; PublicationBlocked.
    """
    schemas = {name: _schema(name, batches) for name, batches in tables.items()}
    types = {name: column_types(name, schema) for name, schema in schemas.items()}
    if not tables:
        raise InvalidMart("there are no marts to publish")
    notes = notes or {}
    held = sorted(tenant for tenant, note in notes.items() if note.held_because is not None)
    with (
        psycopg.connect(database_url, autocommit=True, prepare_threshold=None) as connection,
        psycopg.connect(database_url, autocommit=True, prepare_threshold=None) as earlier,
    ):
        _claim(connection, patience)
        _clean(connection)
        reads = {tenant: tenant_notes.served(earlier, tenant) for tenant in held}

        def record() -> None:
            _record(connection, published, snapshot_id, as_of, now)
            tenant_notes.record(connection, notes, reads)
            _secure(connection, _table(NOTES), OWN_ROWS)
            _force(connection, _table(NOTES))
            connection.execute(sql.SQL("GRANT SELECT ON {} TO app, worker").format(_table(NOTES)))

        try:
            published = [
                _load(connection, earlier, name, types[name], key_columns(schemas[name]), tables[name], held)
                for name in tables
            ]
            _swap(connection, published, record, patience)
        finally:
            if not connection.closed:
                _clean(connection)
    log.info("publication.published", extra={"snapshot_id": snapshot_id, "tables": len(published)})
    return published


def _schema(name: str, batches: Iterable[pa.RecordBatch]) -> pa.Schema:
    if not _NAME.fullmatch(name) or name.endswith(_NEXT) or name in (PUBLICATIONS, NOTES):
        raise InvalidMart(f"{name!r} is no name for a mart")
    schema = getattr(batches, "schema", None)
    if not isinstance(schema, pa.Schema):
        raise InvalidMart(f"the rows of {name} come without a schema")
    return schema


def _claim(connection: psycopg.Connection, patience: dt.timedelta) -> None:
    """Holds off other publications; the lock goes with the connection, so a killed one's is free."""
    try:
        with connection.transaction():
            _wait_at_most(connection, patience)
            connection.execute("SELECT pg_advisory_lock(%s)", (ADVISORY_LOCK,))
    except psycopg.errors.LockNotAvailable as error:
        raise PublicationBlocked("another publication is at work") from error


def _clean(connection: psycopg.Connection) -> None:
    """Drops what a publication that did not end well left; nobody but the publisher could read it."""
    for name in _tables(connection):
        if name.endswith(_NEXT):
            connection.execute(sql.SQL("DROP TABLE {}").format(_table(name)))


def _load(
    connection: psycopg.Connection,
    earlier: psycopg.Connection,
    name: str,
    types: Mapping[str, str],
    key: list[str],
    batches: Iterable[pa.RecordBatch],
    held: list[str],
) -> PublishedTable:
    started = time.perf_counter()
    beside = _table(name + _NEXT)
    columns = sql.SQL(", ").join(
        sql.SQL("{} " + kind + (" NOT NULL" if column == "tenant_id" else "")).format(sql.Identifier(column))
        for column, kind in types.items()
    )
    rows = 0
    try:
        with connection.transaction():
            connection.execute(sql.SQL("CREATE TABLE {} ({})").format(beside, columns))
            _secure(connection, beside, OWN_ROWS)
            with connection.cursor().copy(sql.SQL("COPY {} FROM STDIN (FORMAT csv, FREEZE)").format(beside)) as copy:
                for batch in batches:
                    own = _without(batch, held)
                    rows += own.num_rows
                    for chunk in as_csv(own.select(list(types))):
                        copy.write(chunk)
                for tenant in held:
                    for chunk in tenant_notes.earlier_rows(earlier, name, types, tenant):
                        rows += 1  # PostgreSQL hands over a row at a time
                        copy.write(chunk)
            connection.execute(
                sql.SQL("CREATE INDEX {} ON {} ({})").format(
                    sql.Identifier(f"{name}{_NEXT}_key"), beside, sql.SQL(", ").join(map(sql.Identifier, key))
                )
            )
            _force(connection, beside)
            connection.execute(sql.SQL("ANALYZE {}").format(beside))
    except (psycopg.DataError, psycopg.IntegrityError) as error:
        raise InvalidMart(f"{name}: {error.diag.message_primary}") from error
    return PublishedTable(name, rows, time.perf_counter() - started)


def _without(batch: pa.RecordBatch, held: list[str]) -> pa.RecordBatch:
    """The rows of tenants that are not held."""
    if not held:
        return batch
    owners = batch.column(batch.schema.get_field_index("tenant_id")).cast(pa.string())
    return batch.filter(pc.invert(pc.is_in(owners, pa.array(held, pa.string()))))


def _secure(connection: psycopg.Connection, table: sql.Identifier, rule: str) -> None:
    connection.execute(sql.SQL("ALTER TABLE {} ENABLE ROW LEVEL SECURITY").format(table))
    connection.execute(sql.SQL("CREATE POLICY tenant_isolation ON {} USING (" + rule + ")").format(table))


def _force(connection: psycopg.Connection, table: sql.Identifier) -> None:
    # After the load: COPY refuses a table whose policies bind the owner as well.
    connection.execute(sql.SQL("ALTER TABLE {} FORCE ROW LEVEL SECURITY").format(table))


def _swap(
    connection: psycopg.Connection,
    published: list[PublishedTable],
    record: Callable[[], None],
    patience: dt.timedelta,
) -> None:
    deadline = time.monotonic() + patience.total_seconds()
    for attempt in itertools.count():
        wait = LOCK_WAITS[attempt % len(LOCK_WAITS)]
        try:
            with connection.transaction():
                _wait_at_most(connection, wait)
                _take_places(connection, published)
                record()
            return
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected) as error:
            pause = min(wait * (1 + attempt // len(LOCK_WAITS)), _LONGEST_PAUSE).total_seconds()
            if time.monotonic() + pause > deadline:
                raise PublicationBlocked(f"readers held the marts for {patience.total_seconds():.0f} s") from error
            log.info("publication.waits", extra={"attempt": attempt, "pause_seconds": pause})
            time.sleep(pause)


def _take_places(connection: psycopg.Connection, published: list[PublishedTable]) -> None:
    # Most readers begin with this table: they queue up here and hold none of the others.
    connection.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(_table(PUBLICATIONS)))
    for name in _tables(connection):
        if not name.endswith(_NEXT):
            connection.execute(sql.SQL("DROP TABLE {}").format(_table(name)))
    for table in published:
        connection.execute(
            sql.SQL("ALTER TABLE {} RENAME TO {}").format(_table(table.name + _NEXT), sql.Identifier(table.name))
        )
        connection.execute(
            sql.SQL("ALTER INDEX {} RENAME TO {}").format(
                _table(f"{table.name}{_NEXT}_key"), sql.Identifier(f"{table.name}_key")
            )
        )
        connection.execute(sql.SQL("GRANT SELECT ON {} TO app, worker").format(_table(table.name)))


def _record(
    connection: psycopg.Connection,
    published: list[PublishedTable],
    snapshot_id: str,
    as_of: dt.datetime,
    now: dt.datetime,
) -> None:
    """Which snapshot the tables are, in a table made anew like them, so that it is seen exactly when they are."""
    table = _table(PUBLICATIONS)
    connection.execute(
        sql.SQL("""
            CREATE TABLE {} (
                snapshot_id text NOT NULL, as_of timestamptz NOT NULL, published_at timestamptz NOT NULL,
                table_name text PRIMARY KEY, rows bigint NOT NULL
            )
        """).format(table)
    )
    _secure(connection, table, f"{CURRENT_TENANT} IS NOT NULL")
    with connection.cursor().copy(sql.SQL("COPY {} FROM STDIN (FREEZE)").format(table)) as copy:
        for each in published:
            copy.write_row((snapshot_id, as_of, now, each.name, each.rows))
    _force(connection, table)
    # Not `rows`: how many all tenants have together is not a tenant's to know.
    columns = sql.SQL("snapshot_id, as_of, published_at, table_name")
    connection.execute(sql.SQL("GRANT SELECT ({}) ON {} TO app, worker").format(columns, table))


def _tables(connection: psycopg.Connection) -> list[str]:
    found = connection.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace(%s) AND relkind = 'r' ORDER BY relname",
        (SCHEMA,),
    )
    return [name for (name,) in found]


def _table(name: str) -> sql.Identifier:
    return sql.Identifier(SCHEMA, name)


def _wait_at_most(connection: psycopg.Connection, duration: dt.timedelta) -> None:
    connection.execute("SELECT set_config('lock_timeout', %s, true)", (f"{int(duration.total_seconds() * 1000)}ms",))
