"""Rows are judged once: a table's watermark moves only when its rows keep the contract, so that a broken row is judged
again by every later run and keeps stopping what depends on it, until a newer version of it puts it right."""

from __future__ import annotations

import datetime as dt

from feature_store.warehouse import DuckDBWarehouse
from orchestration.defs.ingest.contracts import CONTRACTS, Verdict, judge

# Judged at once, so that a first load of millions stays within memory.
JUDGED_ROWS = 500_000
WATERMARKS = """
    CREATE TABLE IF NOT EXISTS raw._contracts_kept (table_name varchar PRIMARY KEY, kept_until timestamptz NOT NULL)
"""
NEW = (
    "created_timestamp > coalesce((SELECT kept_until FROM raw._contracts_kept WHERE table_name = $table),"
    " '-infinity'::timestamptz)"
)


def judge_new_rows(warehouse: DuckDBWarehouse, table: str, now: dt.datetime) -> Verdict:
    """The verdict on the rows ingested since the table's contract last held; moves the watermark when it holds."""
    columns = ", ".join(f'"{column}"' for column in CONTRACTS[table].columns)
    rows, expectations = 0, 0
    broken: dict[str, int] = {}
    examples: dict[str, list[str]] = {}
    with warehouse.connect_raw(read_only=False) as connection:
        connection.execute(WATERMARKS)
        [(newest,)] = connection.execute(f"SELECT max(created_timestamp) FROM raw.{table}").fetchall()
        keys = ", ".join(CONTRACTS[table].keys)
        new_rows = connection.sql(
            f"SELECT {columns} FROM raw.{table} WHERE {NEW} QUALIFY row_number() OVER"
            f" (PARTITION BY {keys} ORDER BY changed_xid DESC, created_timestamp DESC) = 1",
            params={"table": table},
        )
        for batch in new_rows.to_arrow_reader(JUDGED_ROWS):
            verdict = judge(table, batch.to_pandas(), now)
            rows, expectations = rows + verdict.rows, max(expectations, verdict.expectations)
            for words, count in verdict.broken.items():
                broken[words] = broken.get(words, 0) + count
                examples.setdefault(words, verdict.examples[words])
        if not broken and newest is not None:
            connection.execute("INSERT OR REPLACE INTO raw._contracts_kept VALUES (?, ?)", [table, newest])
    return Verdict(rows, expectations, broken, examples)
