"""One connection to the warehouse that also reads tables of ours: what retrieval and materialisation run in."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

from feature_store.warehouse import DuckDBWarehouse, PostgresWarehouse, Warehouse

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa


class Session(Protocol):
    """Temporary tables live until the session ends; nothing else is written. Times are UTC."""

    dialect: str

    def put(self, name: str, table: pa.Table) -> None:
        """Makes the rows readable as the temporary table `name`, in place of what it held."""

    def table(self, sql: str) -> pa.Table:
        """The rows of a SELECT."""

    def batches(self, sql: str, rows: int) -> Iterator[pa.RecordBatch]:
        """The rows of a SELECT, at most `rows` at a time; the session does nothing else meanwhile."""


@contextlib.contextmanager
def open_session(warehouse: Warehouse) -> Iterator[Session]:
    """A session on what dbt built. What `Warehouse.connect` raises, it raises."""
    if isinstance(warehouse, DuckDBWarehouse):
        with warehouse.connect() as connection:
            yield _DuckDBSession(connection)
    elif isinstance(warehouse, PostgresWarehouse):
        with warehouse.connect() as connection, connection.cursor() as cursor:
            yield _PostgresSession(cursor)
    else:
        raise TypeError(f"no session is known for {type(warehouse).__name__}")


def literal(value: str) -> str:
    """The text as SQL writes it."""
    return "'" + value.replace("'", "''") + "'"


class _DuckDBSession:
    dialect = "duckdb"

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def put(self, name: str, table: pa.Table) -> None:
        self._connection.register("arrived", table)
        try:
            self._connection.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS SELECT * FROM arrived")
        finally:
            self._connection.unregister("arrived")

    def table(self, sql: str) -> pa.Table:
        return self._connection.sql(sql).to_arrow_table()

    def batches(self, sql: str, rows: int) -> Iterator[pa.RecordBatch]:
        return iter(self._connection.sql(sql).to_arrow_reader(rows))


class _PostgresSession:
    dialect = "postgres"

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor

    def put(self, name: str, table: pa.Table) -> None:
        self._cursor.execute(f"DROP TABLE IF EXISTS pg_temp.{name}")
        self._cursor.adbc_ingest(name, table, mode="create", temporary=True)
        # Without statistics the planner takes it for a small table and loops over a large one.
        self._cursor.execute(f"ANALYZE pg_temp.{name}")

    def table(self, sql: str) -> pa.Table:
        self._cursor.execute(sql)
        return self._cursor.fetch_arrow_table()

    def batches(self, sql: str, rows: int) -> Iterator[pa.RecordBatch]:
        self._cursor.execute(sql)
        for batch in self._cursor.fetch_record_batch():
            for start in range(0, batch.num_rows, rows):
                yield batch.slice(start, rows)
