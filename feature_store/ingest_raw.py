"""The schema raw, open for its one writer: the same layout in DuckDB and in PostgreSQL."""

from __future__ import annotations

import abc
import contextlib
import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from feature_store.ingest_source import Column, Source, SourceSchemaChanged
from feature_store.warehouse import DuckDBWarehouse, PostgresWarehouse, Warehouse

if TYPE_CHECKING:
    import pyarrow as pa

LAYOUT = (
    "CREATE SCHEMA IF NOT EXISTS raw",
    "CREATE TABLE IF NOT EXISTS raw._horizons (table_name text PRIMARY KEY, horizon bigint NOT NULL,"
    " snapshot text NOT NULL)",
    "CREATE TABLE IF NOT EXISTS raw._loads (load_id bigint PRIMARY KEY, kind text NOT NULL,"
    " started_at timestamptz NOT NULL, horizon bigint NOT NULL)",
    "CREATE TABLE IF NOT EXISTS raw.deletions (tenant_id text NOT NULL, table_name text NOT NULL, row_id text NOT NULL,"
    " contact_id text, changed_xid bigint NOT NULL, deleted_at timestamptz NOT NULL, _load_id bigint NOT NULL,"
    " created_timestamp timestamptz NOT NULL)",
    "CREATE TABLE IF NOT EXISTS raw._set_aside (table_name text NOT NULL, tenant_id text NOT NULL,"
    " row_id text NOT NULL, row_load bigint NOT NULL, column_name text NOT NULL, expectation text NOT NULL,"
    " found text, retry_at timestamptz, _load_id bigint NOT NULL, created_timestamp timestamptz NOT NULL)",
    # Up to which load a table keeps the contract of this digest.
    "CREATE TABLE IF NOT EXISTS raw._contracts (table_name text PRIMARY KEY, load_id bigint NOT NULL,"
    " contract text NOT NULL)",
    "DROP TABLE IF EXISTS raw._contracts_kept",
    "DROP TABLE IF EXISTS raw._broken_rows",
)
STAMPS = ("_load_id", "created_timestamp")
SPELLED_BY_DUCKDB = {"varchar": "text", "varchar[]": "text[]", "double": "double precision"}
# DuckDB's share of the 500 MB an ingest may use; what it appends goes to disk by row groups.
DUCKDB_SETTINGS = ("SET memory_limit = '192MB'", "SET preserve_insertion_order = false", "SET threads = 2")
FULL = ("no space left on device", "file too large", "disk quota exceeded", "out of disk")
ADVISORY_LOCK = 7_203_114_002


class WarehouseFull(Exception):
    """The disk of the warehouse is full. The table at hand is as it was before; free some space and run again."""


@dataclass(frozen=True)
class Load:
    """One run of ingest or backfill; its id is one more than the last one's."""

    id: int
    kind: str
    now: dt.datetime
    horizon: int


class Raw(abc.ABC):
    """Parameters are positional: `$1`, `$2`."""

    @abc.abstractmethod
    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]: ...

    @abc.abstractmethod
    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> None: ...

    @abc.abstractmethod
    def transaction(self) -> contextlib.AbstractContextManager[None]:
        """All or nothing of what happens inside. Raises WarehouseFull."""

    @abc.abstractmethod
    def known_columns(self, table: str) -> dict[str, str]:
        """The kinds of a raw table's columns by name, without the stamps; empty when there is no such table."""

    @abc.abstractmethod
    def append(self, table: str, batches: Iterator[pa.RecordBatch], load: Load) -> int:
        """How many rows were added to a raw table, stamped with the load."""

    @abc.abstractmethod
    def settle(self, table: str) -> None:
        """What an engine needs after rows were appended, to find them again quickly."""

    def next_load(self, kind: str, now: dt.datetime, horizon: int) -> Load:
        ((newest,),) = self.rows("SELECT coalesce(max(load_id), 0) FROM raw._loads")
        return Load(int(newest) + 1, kind, now, horizon)

    def record(self, load: Load) -> None:
        self.execute(
            "INSERT INTO raw._loads VALUES ($1, $2, $3, $4) ON CONFLICT (load_id) DO NOTHING",
            [load.id, load.kind, load.now, load.horizon],
        )

    def snapshot(self, table: str) -> str:
        """The snapshot of the source as of which raw holds the table; empty before its first ingest."""
        found = self.rows("SELECT snapshot FROM raw._horizons WHERE table_name = $1", [table])
        return str(found[0][0]) if found else ""

    def move_to(self, table: str, source: Source) -> None:
        self.execute(
            "INSERT INTO raw._horizons VALUES ($1, $2, $3)"
            " ON CONFLICT (table_name) DO UPDATE SET horizon = excluded.horizon, snapshot = excluded.snapshot",
            [table, source.horizon, source.snapshot],
        )

    def ensure(self, tables: dict[str, list[Column]]) -> None:
        """Makes what is missing. Raises SourceSchemaChanged naming all that differs, before anything was ingested."""
        said, repair = [], []
        for table, columns in tables.items():
            known = self.known_columns(table)
            if not known:
                described = ", ".join(f'"{column.name}" {column.kind}' for column in columns)
                stamps = "_load_id bigint NOT NULL, created_timestamp timestamptz NOT NULL"
                self.execute(f"CREATE TABLE raw.{table} ({described}, {stamps})")
                continue
            words, statements = _difference(table, known, {column.name: column.kind for column in columns})
            said += words
            repair += statements
        if said:
            raise SourceSchemaChanged(
                f"{'; '.join(said)}. Nothing was ingested. To take the source as it is now, run in the warehouse:"
                f" {'; '.join(repair)}; then ingest again (rows that arrived before keep null in a new column)",
                repair,
            )

    def apply_deletions(self, table: str, load: Load) -> None:
        """Removes the versions of earlier loads of every row deleted in this one. What this load brought is alive in
        its snapshot: a row put back after its deletion."""
        tenant = "id" if table == "tenants" else "tenant_id"
        self.execute(
            f"DELETE FROM raw.{table} USING raw.deletions AS gone WHERE gone._load_id = $1 AND gone.table_name = $2"
            f" AND gone.row_id = {table}.id AND gone.tenant_id = {table}.{tenant}"
            f" AND {table}._load_id < gone._load_id",
            [load.id, table],
        )


@contextlib.contextmanager
def open_raw(warehouse: Warehouse) -> Iterator[Raw]:
    """The schema raw with its bookkeeping tables. Raises duckdb.IOException while another process writes it."""
    if isinstance(warehouse, DuckDBWarehouse):
        with warehouse.connect_raw(read_only=False) as connection:
            for setting in DUCKDB_SETTINGS:
                connection.execute(setting)
            yield _laid_out(DuckDBRaw(connection))
    elif isinstance(warehouse, PostgresWarehouse):
        with warehouse.connect() as connection:
            raw = PostgresRaw(connection)
            # One writer at a time, as in DuckDB: two would read the same horizon and append the same rows.
            raw.execute("SET lock_timeout = '60s'")
            raw.rows(f"SELECT pg_advisory_lock({ADVISORY_LOCK})::text")
            raw.execute("SET lock_timeout = 0")
            connection.commit()
            yield _laid_out(raw)
    else:
        raise TypeError(f"{type(warehouse).__name__} takes no raw rows")


def _laid_out(raw: Raw) -> Raw:
    with raw.transaction():
        for statement in LAYOUT:
            raw.execute(statement)
    return raw


@dataclass(frozen=True)
class DuckDBRaw(Raw):
    connection: Any

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return list(self.connection.execute(sql, list(parameters) or None).fetchall())

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> None:
        self.connection.execute(sql, list(parameters) or None)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        self.connection.execute("BEGIN")
        try:
            yield
            self.connection.execute("COMMIT")
        except BaseException as error:
            # After a failed write DuckDB may have ended the transaction, or shut the file, itself.
            with contextlib.suppress(Exception):
                self.connection.execute("ROLLBACK")
            _raise_if_full(error)
            raise

    def known_columns(self, table: str) -> dict[str, str]:
        found = self.rows(
            "SELECT column_name, lower(data_type) FROM information_schema.columns"
            " WHERE table_catalog = 'landing' AND table_schema = 'raw' AND table_name = $1",
            [table],
        )
        return {name: SPELLED_BY_DUCKDB.get(kind, kind) for name, kind in found if name not in STAMPS}

    def append(self, table: str, batches: Iterator[pa.RecordBatch], load: Load) -> int:
        import pyarrow as pa

        first = next(batches, None)
        if first is None:
            return 0
        names = ", ".join(f'"{name}"' for name in first.schema.names)
        failures: list[Exception] = []

        def arriving() -> Iterator[pa.RecordBatch]:
            try:
                yield first
                yield from batches
            except Exception as error:
                failures.append(error)
                raise

        # One statement for all batches: a statement a batch would keep every row group in memory until the commit.
        self.connection.register("arrived", pa.RecordBatchReader.from_batches(first.schema, arriving()))
        try:
            ((added,),) = self.rows(
                f"INSERT INTO raw.{table} ({names}, _load_id, created_timestamp) SELECT {names}, $1, $2 FROM arrived",
                [load.id, load.now],
            )
        except Exception as error:
            if failures:
                raise failures[0] from error
            raise
        self.connection.unregister("arrived")
        return int(added)

    def settle(self, table: str) -> None:
        """Nothing: DuckDB keeps the extent of each row group itself."""


@dataclass(frozen=True)
class PostgresRaw(Raw):
    connection: Any

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self.connection.cursor() as cursor:
            cursor.execute(sql, list(parameters) or None)
            return list(cursor.fetchall())

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> None:
        with self.connection.cursor() as cursor:
            cursor.execute(sql, list(parameters) or None)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        try:
            yield
            self.connection.commit()
        except BaseException as error:
            with contextlib.suppress(Exception):
                self.connection.rollback()
            _raise_if_full(error)
            raise

    def known_columns(self, table: str) -> dict[str, str]:
        found = self.rows(
            "SELECT a.attname::text, format_type(a.atttypid, a.atttypmod) FROM pg_attribute a"
            " WHERE a.attrelid = to_regclass('raw.' || $1) AND a.attnum > 0 AND NOT a.attisdropped",
            [table],
        )
        return {name: kind for name, kind in found if name not in STAMPS}

    def append(self, table: str, batches: Iterator[pa.RecordBatch], load: Load) -> int:
        import pyarrow as pa

        first = next(batches, None)
        if first is None:
            return 0
        added = 0
        schema = first.schema.append(pa.field("_load_id", pa.int64()))
        schema = schema.append(pa.field("created_timestamp", pa.timestamp("us", "UTC")))

        def stamped() -> Iterator[pa.RecordBatch]:
            nonlocal added
            batch: pa.RecordBatch | None = first
            while batch is not None:
                stamps = [
                    pa.repeat(pa.scalar(load.id, pa.int64()), batch.num_rows),
                    pa.repeat(pa.scalar(load.now, pa.timestamp("us", "UTC")), batch.num_rows),
                ]
                added += batch.num_rows
                yield pa.RecordBatch.from_arrays([*batch.columns, *stamps], schema=schema)
                batch = next(batches, None)

        reader = pa.RecordBatchReader.from_batches(schema, stamped())
        with self.connection.cursor() as cursor:
            cursor.adbc_ingest(table, reader, mode="append", db_schema_name="raw")
        return added

    def settle(self, table: str) -> None:
        # After the rows of a first load, which an index would slow down.
        self.execute(f"CREATE INDEX IF NOT EXISTS {table}_load ON raw.{table} (_load_id)")
        self.execute(
            f"CREATE INDEX IF NOT EXISTS {table}_id ON raw.{table} ({'row_id' if table == 'deletions' else 'id'})"
        )
        self.execute(f"ANALYZE raw.{table}")


def _difference(table: str, known: dict[str, str], wanted: dict[str, str]) -> tuple[list[str], list[str]]:
    """What changed, in words, and the statements that repair it; two empty lists when nothing did."""
    gone = sorted(set(known) - set(wanted))
    new = sorted(set(wanted) - set(known))
    retyped = sorted(name for name in set(known) & set(wanted) if known[name] != wanted[name])
    if not gone and not new and not retyped:
        return [], []
    words = (
        f"{table}: columns gone: {', '.join(gone) or 'none'}; new: {', '.join(new) or 'none'};"
        f" of another type: {', '.join(retyped) or 'none'}"
    )
    statements = [f'ALTER TABLE raw.{table} ADD COLUMN "{name}" {wanted[name]}' for name in new]
    statements += [f'ALTER TABLE raw.{table} DROP COLUMN "{name}"' for name in gone]
    statements += [
        f'ALTER TABLE raw.{table} ALTER COLUMN "{name}" TYPE {wanted[name]} USING CAST("{name}" AS {wanted[name]})'
        for name in retyped
    ]
    return [words], statements


def _raise_if_full(error: BaseException) -> None:
    if any(words in str(error).lower() for words in FULL):
        raise WarehouseFull(
            "the warehouse's disk is full; nothing of the table at hand was kept."
            f" Free some space, then run again: {error}"
        ) from error
