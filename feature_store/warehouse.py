"""The one door to the DuckDB warehouse."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import duckdb
    import polars as pl


@dataclass(frozen=True)
class Warehouse:
    """A DuckDB file. One process writes at a time and shuts every other out, so connections are short."""

    path: Path

    @contextlib.contextmanager
    def connect(self, *, read_only: bool = True) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection whose session is UTC. Raises duckdb.IOException while another process writes, or when a reader
        finds no file."""
        import duckdb

        if not read_only:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        with duckdb.connect(str(self.path), read_only=read_only) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            yield connection

    def query(self, sql: str, parameters: dict[str, Any] | list[Any] | None = None) -> pl.DataFrame:
        """The rows of a SELECT, read-only."""
        with self.connect() as connection:
            return as_frame(connection, sql, parameters)


def as_frame(
    connection: duckdb.DuckDBPyConnection, sql: str, parameters: dict[str, Any] | list[Any] | None = None
) -> pl.DataFrame:
    """The rows of a SELECT over an open connection."""
    import polars as pl

    frame = pl.from_arrow(connection.sql(sql, params=parameters).to_arrow_table())
    assert isinstance(frame, pl.DataFrame)  # noqa: S101 - a table never becomes a series
    return frame
