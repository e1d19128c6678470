"""What a publication says of single tenants: that theirs is an earlier one, and which of their rows are left out."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from psycopg import sql

SCHEMA = "marts"
NOTES = "publication_notes"


@dataclass(frozen=True, slots=True)
class SetAside:
    """`rows` rows of an operational table that are in no figure, and what is wrong with them in words."""

    table: str
    reason: str
    rows: int


@dataclass(frozen=True, slots=True)
class Note:
    """With `held_because` the tenant's rows of this publication are those of its last one."""

    held_because: str | None = None
    set_aside: tuple[SetAside, ...] = ()


@dataclass(frozen=True, slots=True)
class Served:
    """The snapshot whose rows a tenant reads; none of it before the tenant's first."""

    snapshot_id: str | None = None
    as_of: dt.datetime | None = None
    published_at: dt.datetime | None = None


def served(earlier: psycopg.Connection, tenant: str) -> Served:
    """What the tenant reads now. `earlier` is a connection of the publisher's."""
    with acting_for(earlier, tenant):
        row = earlier.execute(
            "SELECT p.snapshot_id, p.as_of, p.published_at, n.held_because, n.snapshot_id, n.as_of, n.published_at"
            " FROM marts.publications p LEFT JOIN marts.publication_notes n ON true LIMIT 1"
        ).fetchone()
    if row is None:
        return Served()
    return Served(*row[4:]) if row[3] is not None else Served(*row[:3])


def earlier_rows(earlier: psycopg.Connection, table: str, types: Mapping[str, str], tenant: str) -> Iterator[bytes]:
    """The tenant's rows of a table that serves now, as CSV with these columns; one that it lacks, or has of another
    type, is empty."""
    with acting_for(earlier, tenant):
        known: dict[str, str] = dict(
            earlier.execute(
                "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute"
                " WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped",
                (f"{SCHEMA}.{table}",),
            ).fetchall()
        )
        if not known:
            return
        wanted = [
            sql.Identifier(name) if _same_type(known.get(name), kind) else sql.SQL("NULL")
            for name, kind in types.items()
        ]
        query = sql.SQL("COPY (SELECT {} FROM {}) TO STDOUT (FORMAT csv)").format(
            sql.SQL(", ").join(wanted), sql.Identifier(SCHEMA, table)
        )
        with earlier.cursor().copy(query) as copy:
            for chunk in copy:
                yield bytes(chunk)


def _same_type(known: str | None, wanted: str) -> bool:
    spelled = {"timestamptz": "timestamp with time zone", "timestamp": "timestamp without time zone"}
    written = spelled.get(wanted, wanted).replace("numeric(20)", "numeric(20,0)").replace(", ", ",")
    return known == written


@contextmanager
def acting_for(connection: psycopg.Connection, tenant: str) -> Iterator[None]:
    """The tenant's rights, which bind the tables' owner as well."""
    with connection.transaction():
        connection.execute("SELECT set_config('app.tenant_id', %s, true)", (tenant,))
        yield


def record(connection: psycopg.Connection, notes: Mapping[str, Note], reads: Mapping[str, Served]) -> None:
    """The table of notes, made anew, of the tenants there is something to say of. `reads` tells what the held ones
    go on reading."""
    table = sql.Identifier(SCHEMA, NOTES)
    connection.execute(
        sql.SQL("""
            CREATE TABLE {} (
                tenant_id uuid PRIMARY KEY, snapshot_id text, as_of timestamptz, published_at timestamptz,
                held_because text, set_aside jsonb NOT NULL
            )
        """).format(table)
    )
    with connection.cursor().copy(sql.SQL("COPY {} FROM STDIN (FREEZE)").format(table)) as copy:
        for tenant, note in notes.items():
            of = reads.get(tenant, Served())
            rows = [{"table": each.table, "reason": each.reason, "rows": each.rows} for each in note.set_aside]
            copy.write_row((tenant, of.snapshot_id, of.as_of, of.published_at, note.held_because, json.dumps(rows)))
