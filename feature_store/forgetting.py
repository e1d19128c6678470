"""Taking people out of what was built of them, at once and without building it anew.

Ingest removes a deleted row from raw (ADR 11), and the next build everything made of it. A person who was erased waits
for no build: what names a row of theirs by its id goes at once, and the files of DuckDB are written anew, because a
deleted row stays in its file until something else is written over it. Sums over many people stay until the next build.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from feature_store.warehouse import DuckDBWarehouse, PostgresWarehouse, Warehouse

if TYPE_CHECKING:
    from redis import Redis

# Steers the next build by ids of contacts and holds nothing else.
WORKING_TABLES = ("int_contacts__changed",)
IDS_A_STATEMENT = 10_000
MEMORY_LIMIT = "512MB"
# Of every table that dbt built or a snapshot copied: the columns that may hold an id of a row.
ID_COLUMNS = """
    SELECT t.table_schema, t.table_name, c.column_name
    FROM information_schema.tables AS t
    JOIN information_schema.columns AS c ON c.table_schema = t.table_schema AND c.table_name = t.table_name
    WHERE t.table_type = 'BASE TABLE' AND t.table_schema IN ('staging', 'intermediate', 'features', 'marts')
      AND lower(c.data_type) IN ('varchar', 'text', 'uuid') AND c.column_name LIKE '%\\_id' ESCAPE '\\'
      AND c.column_name NOT IN ('tenant_id', 'campaign_id', 'provider_id') {only}
    ORDER BY 1, 2, 3
"""


def forgotten_ids(warehouse: Warehouse, contact_ids: Iterable[str]) -> list[str]:
    """The contacts' ids and those of all their rows, as the deletions in raw tell them."""
    contacts = sorted({str(uuid.UUID(contact)) for contact in contact_ids})
    found = set(contacts)
    for start in range(0, len(contacts), IDS_A_STATEMENT):
        named = ", ".join(f"'{contact}'" for contact in contacts[start : start + IDS_A_STATEMENT])
        rows = warehouse.raw_query(f"SELECT DISTINCT row_id FROM raw.deletions WHERE contact_id IN ({named})")
        found |= {str(row) for (row,) in rows.iter_rows()}
    return sorted(found)


def forget_rows(warehouse: Warehouse, ids: Iterable[str]) -> int:
    """How many rows of the warehouse's layers named one of the ids; they are gone. A DuckDB file is replaced by one
    that never held them. The caller is the only writer."""
    if isinstance(warehouse, DuckDBWarehouse):
        return forget_in_file(warehouse.path, ids)
    if not isinstance(warehouse, PostgresWarehouse):
        raise TypeError(f"{type(warehouse).__name__} forgets nobody")
    with warehouse.connect() as connection:
        with connection.cursor() as cursor:
            removed = _forget(lambda sql: _postgres_rows(cursor, sql), ids, WORKING_TABLES)
        connection.commit()
    return removed


def forget_in_file(file: Path, ids: Iterable[str]) -> int:
    """As `forget_rows`, in one DuckDB file: a warehouse, or a snapshot of it. Who has it open reads on what they
    opened. Does nothing where there is no file."""
    import duckdb

    if not file.exists():
        return 0
    with _beside(file, "forgetting") as copy:
        shutil.copyfile(file, copy)
        with duckdb.connect(str(copy)) as connection:
            removed = _forget(lambda sql: connection.execute(sql).fetchall(), ids, WORKING_TABLES)
            connection.execute("CHECKPOINT")
        _write_anew(copy, file)
    return removed


def rewrite(file: Path) -> None:
    """Replaces a DuckDB file by one that holds its rows and nothing that was deleted from it. The caller is the only
    writer."""
    if file.exists():
        _write_anew(file, file)


def rewrite_log(redis_url: str, patience_seconds: float = 120.0) -> None:
    """Returns once Redis has written its files anew: until then they hold what was removed. Does nothing where it keeps
    none. Raises: TimeoutError; redis.RedisError where a hosted Redis lets nobody ask, and does it in its own time."""
    from redis import Redis

    with Redis.from_url(redis_url) as client:
        has_log = bool(_persistence(client)["aof_enabled"])
        kept: dict[str, str] = client.config_get("save")
        if not has_log and not kept.get("save"):
            return
        deadline = time.monotonic() + patience_seconds
        for ask in (False, True):
            # One that is under way may have begun before the removal: it is waited for, then one of ours is.
            if ask:
                client.bgrewriteaof() if has_log else client.bgsave()
            while _is_writing(client):
                if time.monotonic() > deadline:
                    raise TimeoutError("Redis is still writing its files anew")
                time.sleep(0.05)


def _is_writing(client: Redis) -> bool:
    state = _persistence(client)
    words = ("aof_rewrite_in_progress", "aof_rewrite_scheduled", "rdb_bgsave_in_progress")
    return any(int(state.get(word, 0)) for word in words)


def _persistence(client: Redis) -> dict[str, Any]:
    told: dict[str, Any] = client.info("persistence")
    return told


def _write_anew(source: Path, target: Path) -> None:
    import duckdb

    with _beside(target, "anew") as fresh:
        with duckdb.connect(":memory:") as connection:
            connection.execute(f"SET memory_limit = '{MEMORY_LIMIT}'")
            connection.execute("SET preserve_insertion_order = true")
            connection.execute(f"SET temp_directory = {_quoted(fresh.with_name(f'{fresh.name}.tmp'))}")
            connection.execute(f"ATTACH {_quoted(source)} AS held (READ_ONLY)")
            connection.execute(f"ATTACH {_quoted(fresh)} AS fresh")
            connection.execute("COPY FROM DATABASE held TO fresh")
            connection.execute("CHECKPOINT fresh")
            connection.execute("DETACH fresh")
        with fresh.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(fresh, target)
        target.with_name(f"{target.name}.wal").unlink(missing_ok=True)


@contextlib.contextmanager
def _beside(file: Path, word: str) -> Iterator[Path]:
    """A name beside the file that is free, and free again afterwards."""
    place = file.with_name(f".{file.name}.{word}")

    def clear() -> None:
        for one in (place, place.with_name(f"{place.name}.wal")):
            one.unlink(missing_ok=True)
        shutil.rmtree(place.with_name(f"{place.name}.tmp"), ignore_errors=True)

    clear()
    try:
        yield place
    finally:
        clear()


def _forget(rows: Any, ids: Iterable[str], spared: Iterable[str]) -> int:
    named = sorted({str(uuid.UUID(one)) for one in ids})
    only = "".join(f" AND t.table_name <> '{table}'" for table in spared)
    columns = rows(ID_COLUMNS.format(only=only))
    removed = 0
    for start in range(0, len(named), IDS_A_STATEMENT):
        listed = ", ".join(f"'{one}'" for one in named[start : start + IDS_A_STATEMENT])
        for schema, table, column in columns:
            gone = f'DELETE FROM {schema}."{table}" WHERE "{column}"::text IN ({listed})'
            [(count,)] = rows(gone) or [(0,)]
            removed += int(count)
    return removed


def _postgres_rows(cursor: Any, sql: str) -> list[tuple[Any, ...]]:
    cursor.execute(sql)
    if sql.startswith("DELETE"):
        return [(max(cursor.rowcount, 0),)]
    return list(cursor.fetchall())


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"
