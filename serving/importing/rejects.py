"""The rows an import refused, one CSV a table, safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable
from pathlib import Path

import duckdb

# A spreadsheet takes a cell that starts so for a formula.
DANGEROUS = ("=", "+", "-", "@", "\t", "\r", "\n")


def write_rejects(connection: duckdb.DuckDBPyConnection, tables: Iterable[str], folder: Path) -> dict[str, Path]:
    """The files written, by table: `reason`, then what the SELECT gave. A table without rejects gets no file, and loses
    the one of an earlier run. The files hold people's data and are readable by their owner alone."""
    written: dict[str, Path] = {}
    for name in tables:
        path = folder / f"{name}.csv"
        path.unlink(missing_ok=True)
        rows = connection.execute(
            f"SELECT reason, raw.* EXCLUDE (_row) FROM rejected_{name} JOIN raw_{name} AS raw USING (_row)"
            " ORDER BY _row"
        )
        columns = [column[0] for column in rows.description]
        first = rows.fetchmany(10_000)
        if not first:
            continue
        folder.mkdir(parents=True, exist_ok=True)
        with os.fdopen(
            os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", newline="", encoding="utf-8"
        ) as file:
            writer = csv.writer(file)
            writer.writerow([safe(column) for column in columns])
            while first:
                writer.writerows([safe(value) for value in row] for row in first)
                first = rows.fetchmany(10_000)
        written[name] = path
    return written


def safe(value: object) -> str:
    """The value as a cell no spreadsheet will run."""
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(DANGEROUS) else text
