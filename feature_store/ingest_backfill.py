"""One day of the operational database read again, and raw made to agree with it: for what a lost disk, a hand on the
database or a mended bug left behind."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence

from feature_store.ingest_raw import Load, Raw, open_raw
from feature_store.ingest_source import Column, Source, open_source, select, wanted_tables
from feature_store.warehouse import Warehouse

# The column that says when what a row tells of happened.
EVENT_TIMES = {
    "tenants": "created_at",
    "campaigns": "known_at",
    "contacts": "known_at",
    "consents": "effective_at",
    "consent_events": "occurred_at",
    "conversations": "started_at",
    "messages": "timestamp",
    "message_status_events": "occurred_at",
    "replies": "timestamp",
    "orders": "ordered_at",
    "order_items": "created_at",
    "conversions": "occurred_at",
    "outbound_messages": "created_at",
    "decisions": "decided_at",
    "scores": "scored_at",
    "usage_records": "date",
}
# Whose a row is, where the row does not say: through the raw table and column it points by.
PARENTS = {"message_status_events": ("messages", "message_id"), "order_items": ("orders", "order_id")}
ABOUT_NOBODY = ("tenants", "campaigns", "usage_records")
IDS_A_QUESTION = 5_000


def ingest_day(
    operational_url: str, warehouse: Warehouse, day: dt.date, now: dt.datetime, tables: Sequence[str] | None = None
) -> dict[str, tuple[int, int]]:
    """(added, removed) rows of each table whose event time lies in the UTC day, all as one load of kind `backfill`.

    Added are row versions of the source that raw lacks; removed, by recording a deletion, rows the source does not hold
    any more though no tombstone says why. What is newer than the last ingest is left to the next one, so that a table
    never ingested stays as it is. A day that agrees already changes nothing. Raises as `ingest` does.
    """
    wanted = wanted_tables(tables)
    with open_source(operational_url) as source, open_raw(warehouse) as raw:
        described = {table: source.columns(table) for table in wanted}
        with raw.transaction():
            raw.ensure(described)
            load = raw.next_load("backfill", now, source.horizon)
        return {table: _agree(source, raw, table, described[table], day, load) for table in wanted}


def _agree(source: Source, raw: Raw, table: str, columns: list[Column], day: dt.date, load: Load) -> tuple[int, int]:
    seen = raw.snapshot(table)
    if not seen:
        return 0, 0
    source.require_after(table, seen)
    names = ", ".join(f'"{column.name}"' for column in columns)
    with raw.transaction():
        raw.execute(f"CREATE TABLE raw._arrived AS SELECT * FROM raw.{table} LIMIT 0")
        raw.append("_arrived", source.batches(select(table, columns, f"{_within(table, day)} AND {_seen(seen)}")), load)
        lacking = (
            f"FROM raw._arrived AS arrived WHERE NOT EXISTS (SELECT 1 FROM raw.{table} AS kept"
            " WHERE kept.id = arrived.id AND kept.changed_xid = arrived.changed_xid)"
        )
        ((added,),) = raw.rows(f"SELECT count(*) {lacking}")
        gone = _gone(source, raw, table, day, seen)
        if added or gone:
            raw.record(load)
        if added:
            stamped = f"{names}, _load_id, created_timestamp"
            raw.execute(f"INSERT INTO raw.{table} ({stamped}) SELECT {stamped} {lacking}")
        if gone:
            _record_deletions(raw, table, gone, seen, load)
            raw.apply_deletions(table, load)
            raw.settle("deletions")
        raw.execute("DROP TABLE raw._arrived")
    return int(added), len(gone)


def _gone(source: Source, raw: Raw, table: str, day: dt.date, seen: str) -> list[str]:
    """Ids whose newest version in raw lies in the day, and of which the source knows nothing: neither the row, on
    whatever day it may lie by now, nor its deletion, which the next ingest brings."""
    found = raw.rows(f"""
        SELECT newest.id FROM (
            SELECT id, "{EVENT_TIMES[table]}" AS moment,
                row_number() OVER (PARTITION BY id ORDER BY _load_id DESC) AS version_rank FROM raw.{table}
            WHERE id IN (SELECT id FROM raw.{table} WHERE {_within(table, day)})
        ) AS newest
        WHERE version_rank = 1 AND {_within(table, day, "moment")}
            AND NOT EXISTS (SELECT 1 FROM raw._arrived AS arrived WHERE arrived.id = newest.id)
        ORDER BY newest.id
    """)
    missing = [str(row_id) for (row_id,) in found]
    known: set[str] = set()
    for ids in _parts(missing):
        query = f"""
            SELECT id::text FROM public.{table} WHERE id IN ({ids}) UNION ALL SELECT row_id::text
            FROM public.deleted_rows
            WHERE table_name = '{table}' AND row_id IN ({ids}) AND NOT {_seen(seen)}
        """
        known |= {str(row_id) for (row_id,) in source.rows(query)}
    return [row_id for row_id in missing if row_id not in known]


def _record_deletions(raw: Raw, table: str, gone: Sequence[str], seen: str, load: Load) -> None:
    """As if the rows had been deleted in the first transaction after those raw knows."""
    tenant = "id" if table == "tenants" else "tenant_id"
    if table in PARENTS:
        parent, key = PARENTS[table]
        contact = f"(SELECT max(parent.contact_id) FROM raw.{parent} AS parent WHERE parent.id = lost.{key})"
    else:
        contact = "NULL" if table in ABOUT_NOBODY else "lost.id" if table == "contacts" else "lost.contact_id"
    for ids in _parts(gone):
        raw.execute(
            "INSERT INTO raw.deletions (tenant_id, table_name, row_id, contact_id, changed_xid, deleted_at, _load_id,"
            f" created_timestamp) SELECT DISTINCT lost.{tenant}, '{table}', lost.id, {contact}, $1, $2, $3, $2"
            f" FROM raw.{table} AS lost WHERE lost.id IN ({ids})",
            [int(seen.split(":")[1]), load.now, load.id],
        )


def _seen(snapshot: str) -> str:
    return f"pg_visible_in_snapshot(changed_xid, '{snapshot}'::pg_snapshot)"


def _parts(ids: Sequence[str]) -> Iterator[str]:
    """Ids as lists of SQL literals."""
    for start in range(0, len(ids), IDS_A_QUESTION):
        yield ", ".join(f"'{row_id}'" for row_id in ids[start : start + IDS_A_QUESTION])


def _within(table: str, day: dt.date, column: str | None = None) -> str:
    """The condition, in either engine, that an event time lies in the UTC day."""
    name = f'"{column or EVENT_TIMES[table]}"'
    if EVENT_TIMES[table] == "date":
        return f"{name} = DATE '{day}'"
    after = day + dt.timedelta(days=1)
    return f"{name} >= TIMESTAMPTZ '{day} 00:00:00+00' AND {name} < TIMESTAMPTZ '{after} 00:00:00+00'"
