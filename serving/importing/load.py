"""Writes the valid rows of an import to PostgreSQL: COPY into a temporary table, then one set-based statement a chunk.

Every chunk is one transaction. Rows have derived ids, so a chunk that was committed before a crash is found and left
alone by the next run.
"""

from __future__ import annotations

import io
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import duckdb
import psycopg
import pyarrow as pa
import pyarrow.csv
import sqlalchemy as sa
from psycopg import sql
from sqlalchemy.orm import Session

from serving.importing.targets import Target
from serving.kit.database import Database

CHUNK_ROWS = 100_000

Committed = Callable[[Session, str, int], None]


@dataclass
class Loaded:
    """What became of the rows of one target: new, changed, or there before and equal."""

    new: int = 0
    changed: int = 0
    there: int = 0
    aliases: list[tuple[str, str]] = field(default_factory=list)


def load(
    connection: duckdb.DuckDBPyConnection,
    database: Database,
    tenant_id: uuid.UUID,
    target: Target,
    committed: Committed,
) -> Loaded:
    """Loads the rows of `target`. `committed(session, table, rows)` is called inside each chunk's transaction."""
    done = Loaded()
    for batch in batches(connection, target.rows):
        with database.tenant(tenant_id) as session:
            stage(session, "stage", target.columns, batch)
            _write(session, tenant_id, target, batch.num_rows, done)
            committed(session, target.table, batch.num_rows)
    return done


def batches(connection: duckdb.DuckDBPyConnection, select: str) -> Iterator[pa.Table]:
    """The rows of `select` in chunks of at most CHUNK_ROWS."""
    reader = connection.sql(select).to_arrow_reader(CHUNK_ROWS)
    held: list[pa.RecordBatch] = []
    for batch in reader:
        held.append(batch)
        if sum(part.num_rows for part in held) >= CHUNK_ROWS:
            yield pa.Table.from_batches(held)
            held = []
    if held and sum(part.num_rows for part in held):
        yield pa.Table.from_batches(held)


def stage(session: Session, name: str, columns: dict[str, str], rows: pa.Table) -> None:
    """Copies rows into a temporary table of this transaction, `columns` naming its columns and their types."""
    definition = ", ".join(f'"{column}" {kind}' for column, kind in columns.items())
    session.execute(sa.text(f"CREATE TEMPORARY TABLE {name} ({definition}) ON COMMIT DROP"))
    driver: Any = session.connection().connection.driver_connection
    buffer = io.BytesIO()
    pyarrow.csv.write_csv(rows, buffer, pyarrow.csv.WriteOptions(include_header=False))
    with driver.cursor().copy(sql.SQL("COPY {} FROM STDIN (FORMAT csv)").format(sql.Identifier(name))) as copy:
        copy.write(buffer.getbuffer())


def _insert(session: Session, insert: str, tenant: dict[str, Any]) -> int:
    """How many rows were new. A first import meets none of its rows, and a plain INSERT costs two thirds of one that
    looks for conflicts row by row; so that is tried first."""
    try:
        with session.begin_nested():
            return row_count(session, insert, tenant)
    except sa.exc.IntegrityError as error:
        if not isinstance(error.orig, psycopg.errors.UniqueViolation):
            raise
    return row_count(session, insert + " ON CONFLICT DO NOTHING", tenant)


def row_count(session: Session, statement: str, values: dict[str, Any]) -> int:
    """How many rows a statement wrote."""
    done: Any = session.execute(sa.text(statement), values)
    return int(done.rowcount)


def _write(session: Session, tenant_id: uuid.UUID, target: Target, rows: int, done: Loaded) -> None:
    tenant = {"tenant": tenant_id}
    columns = ", ".join(f'"{column}"' for column in target.columns)
    values = ", ".join(target.values.get(column, f'stage."{column}"') for column in target.columns)
    insert = (
        f"INSERT INTO {target.table} (tenant_id, {columns})"
        f" SELECT CAST(:tenant AS uuid), {values} FROM stage WHERE {target.only}"
    )
    new = _insert(session, insert, tenant) if target.inserts else 0
    done.new += new
    if new == rows:
        return
    found = set()
    for same in target.natural_keys:
        query = (
            f"SELECT stage.id, t.id FROM stage JOIN {target.table} AS t"
            f" ON t.tenant_id = CAST(:tenant AS uuid) AND {same} WHERE t.id <> stage.id"
        )
        for derived, actual in session.execute(sa.text(query), tenant).tuples().all():
            if derived not in found:
                found.add(derived)
                done.aliases.append((derived.hex, actual.hex))
    changed = 0
    if target.updates:
        changes = ", ".join(f'"{column}" = {value}' for column, value in target.updates.items())
        differs = " OR ".join(f't."{column}" IS DISTINCT FROM {value}' for column, value in target.updates.items())
        update = (
            f"UPDATE {target.table} AS t SET {changes} FROM stage WHERE t.tenant_id = CAST(:tenant AS uuid)"
            f" AND t.id = stage.id AND ({differs})"
        )
        changed = row_count(session, update, tenant)
    done.changed += changed
    done.there += rows - new - changed
