"""The one door to the warehouse: what ingest appends (raw), and what dbt builds of it. DuckDB, or PostgreSQL."""

from __future__ import annotations

import abc
import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    import duckdb
    import polars as pl
    import pyarrow as pa

BATCH_ROWS = 65_536


class Warehouse(abc.ABC):
    """Where raw rows and dbt's models live. Parameters are positional: `$1`, `$2`; times are UTC."""

    dialect: ClassVar[str]

    @abc.abstractmethod
    def query(self, sql: str, parameters: Sequence[Any] = ()) -> pl.DataFrame:
        """The rows of a SELECT over what dbt built."""

    @abc.abstractmethod
    def batches(
        self, sql: str, parameters: Sequence[Any] = (), rows: int = BATCH_ROWS
    ) -> contextlib.AbstractContextManager[pa.RecordBatchReader]:
        """The rows of a SELECT over what dbt built, about `rows` at a time."""

    @abc.abstractmethod
    def raw_query(self, sql: str, parameters: Sequence[Any] = ()) -> pl.DataFrame:
        """The rows of a SELECT over the schema raw."""

    @abc.abstractmethod
    def raw_batches(
        self, sql: str, parameters: Sequence[Any] = (), rows: int = BATCH_ROWS
    ) -> contextlib.AbstractContextManager[pa.RecordBatchReader]:
        """The rows of a SELECT over the schema raw, about `rows` at a time."""

    @abc.abstractmethod
    def raw_execute(self, sql: str, parameters: Sequence[Any] = ()) -> None:
        """One statement over the schema raw, committed."""

    @abc.abstractmethod
    def dbt_environment(self) -> dict[str, str]:
        """What dbt's profile reads to find this warehouse."""


@dataclass(frozen=True)
class DuckDBWarehouse(Warehouse):
    """Two files: `path` holds what dbt built, `raw.duckdb` beside it what ingest appends. One process writes a file at
    a time and shuts every other out, so connections are short."""

    path: Path
    dialect: ClassVar[str] = "duckdb"

    @property
    def raw_path(self) -> Path:
        return self.path.with_name("raw.duckdb")

    def connect(self, *, read_only: bool = True) -> contextlib.AbstractContextManager[duckdb.DuckDBPyConnection]:
        """A connection to what dbt built. Raises duckdb.IOException while another process writes, or when a reader
        finds no file."""
        return _duckdb(self.path, read_only)

    def connect_raw(self, *, read_only: bool = True) -> contextlib.AbstractContextManager[duckdb.DuckDBPyConnection]:
        """As `connect`, to the raw rows: the schema raw of a database named landing, as dbt sees it."""
        return _attached(self.raw_path, read_only)

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> pl.DataFrame:
        with self.connect() as connection:
            return as_frame(connection, sql, parameters)

    def raw_query(self, sql: str, parameters: Sequence[Any] = ()) -> pl.DataFrame:
        with self.connect_raw() as connection:
            return as_frame(connection, sql, parameters)

    @contextlib.contextmanager
    def batches(
        self, sql: str, parameters: Sequence[Any] = (), rows: int = BATCH_ROWS
    ) -> Iterator[pa.RecordBatchReader]:
        with self.connect() as connection:
            yield connection.sql(sql, params=list(parameters) or None).to_arrow_reader(rows)

    @contextlib.contextmanager
    def raw_batches(
        self, sql: str, parameters: Sequence[Any] = (), rows: int = BATCH_ROWS
    ) -> Iterator[pa.RecordBatchReader]:
        with self.connect_raw() as connection:
            yield connection.sql(sql, params=list(parameters) or None).to_arrow_reader(rows)

    def raw_execute(self, sql: str, parameters: Sequence[Any] = ()) -> None:
        with self.connect_raw(read_only=False) as connection:
            connection.execute(sql, list(parameters) or None)

    def dbt_environment(self) -> dict[str, str]:
        return {
            "FEATURE_STORE_DBT_TARGET": "duckdb",
            "FEATURE_STORE_WAREHOUSE": str(self.path),
            "FEATURE_STORE_RAW": str(self.raw_path),
        }


@dataclass(frozen=True)
class PostgresWarehouse(Warehouse):
    """A PostgreSQL database of its own, with a schema per layer. `url` is a libpq URL whose role owns the database."""

    url: str
    dialect: ClassVar[str] = "postgres"

    @contextlib.contextmanager
    def connect(self) -> Iterator[Any]:
        """An ADBC connection in an open transaction; what it does is lost without commit()."""
        import adbc_driver_postgresql.dbapi

        with adbc_driver_postgresql.dbapi.connect(self.url) as connection:
            with connection.cursor() as cursor:
                cursor.execute("SET TIME ZONE 'UTC'")
            yield connection

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> pl.DataFrame:
        import polars as pl

        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute(sql, list(parameters) or None)
            frame = pl.from_arrow(cursor.fetch_arrow_table())
        assert isinstance(frame, pl.DataFrame)  # noqa: S101 - a table never becomes a series
        return frame

    def raw_query(self, sql: str, parameters: Sequence[Any] = ()) -> pl.DataFrame:
        return self.query(sql, parameters)

    @contextlib.contextmanager
    def batches(
        self, sql: str, parameters: Sequence[Any] = (), rows: int = BATCH_ROWS
    ) -> Iterator[pa.RecordBatchReader]:
        import pyarrow as pa

        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute(sql, list(parameters) or None)
            found = cursor.fetch_record_batch()
            parts = (batch.slice(start, rows) for batch in found for start in range(0, batch.num_rows, rows))
            yield pa.RecordBatchReader.from_batches(found.schema, parts)

    def raw_batches(
        self, sql: str, parameters: Sequence[Any] = (), rows: int = BATCH_ROWS
    ) -> contextlib.AbstractContextManager[pa.RecordBatchReader]:
        return self.batches(sql, parameters, rows)

    def raw_execute(self, sql: str, parameters: Sequence[Any] = ()) -> None:
        with self.connect() as connection:
            with connection.cursor() as cursor:
                cursor.execute(sql, list(parameters) or None)
            connection.commit()

    def dbt_environment(self) -> dict[str, str]:
        parts = urlsplit(self.url)
        return {
            "FEATURE_STORE_DBT_TARGET": "postgres",
            "FEATURE_STORE_WAREHOUSE": self.url,
            "FEATURE_STORE_PG_HOST": parts.hostname or "localhost",
            "FEATURE_STORE_PG_PORT": str(parts.port or 5432),
            "FEATURE_STORE_PG_USER": unquote(parts.username or ""),
            "FEATURE_STORE_PG_PASSWORD": unquote(parts.password or ""),
            "FEATURE_STORE_PG_DBNAME": unquote(parts.path.removeprefix("/")),
            # dbt's profile cannot set a session's zone; libpq takes it from here.
            "PGTZ": "UTC",
        }


def warehouse_at(location: str | Path) -> Warehouse:
    """The warehouse FEATURE_STORE_WAREHOUSE names: a PostgreSQL URL, or the path of a DuckDB file."""
    if str(location).startswith(("postgresql://", "postgres://")):
        return PostgresWarehouse(str(location))
    return DuckDBWarehouse(Path(location))


def as_frame(connection: duckdb.DuckDBPyConnection, sql: str, parameters: Sequence[Any] = ()) -> pl.DataFrame:
    """The rows of a SELECT over an open DuckDB connection."""
    import polars as pl

    frame = pl.from_arrow(connection.sql(sql, params=list(parameters) or None).to_arrow_table())
    assert isinstance(frame, pl.DataFrame)  # noqa: S101 - a table never becomes a series
    return frame


@contextlib.contextmanager
def _duckdb(path: Path, read_only: bool) -> Iterator[duckdb.DuckDBPyConnection]:
    import duckdb

    if not read_only:
        path.parent.mkdir(parents=True, exist_ok=True)
    with duckdb.connect(str(path), read_only=read_only) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


@contextlib.contextmanager
def _attached(path: Path, read_only: bool) -> Iterator[duckdb.DuckDBPyConnection]:
    import duckdb

    if not read_only:
        path.parent.mkdir(parents=True, exist_ok=True)
    # Opened by its own name, raw.duckdb would be a database named as its schema is, and raw.contacts mean two things.
    with duckdb.connect(":memory:") as connection:
        quoted = str(path).replace("'", "''")
        connection.execute(f"ATTACH '{quoted}' AS landing (READ_{'ONLY' if read_only else 'WRITE'})")
        connection.execute("USE landing")
        # A database in memory would spill into the working directory.
        spill = str(path.with_name("raw.tmp")).replace("'", "''")
        connection.execute(f"SET temp_directory = '{spill}'")
        connection.execute("SET TimeZone = 'UTC'")
        yield connection
