"""How fast rows go from PostgreSQL to the warehouse, beside a bare stream of the same rows without our bookkeeping.

`python -m tests.benchmarks.bench_ingest [--rows 2000000] [--runs 3]` prints a table and writes
$RAPPORT_HOME/bench/ingest.json. Each measurement is a process of its own, so that its peak of memory is its own.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.made_history import make_history
from tests.benchmarks.reporting import PROJECT_ROOT, Figure, figure, report, scratch_database

MEGABYTE = 1e6
WAYS = ("read", "bare", "ingest")
NOW = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)


@dataclass(frozen=True)
class Run:
    rows: int
    seconds: float
    peak_bytes: int

    @property
    def speed(self) -> float:
        return self.rows / self.seconds


def perform(way: str, etl_url: str, folder: Path) -> int:
    """How many rows one way brought, in this process: `read` drops them, `bare` appends them to a DuckDB file in one
    transaction each table, `ingest` is the real one."""
    import duckdb

    from feature_store.ingest import TABLES, ingest
    from feature_store.ingest_source import open_source, select
    from feature_store.warehouse import DuckDBWarehouse

    path = folder / f"{way}.{os.getpid()}" / "warehouse.duckdb"
    if way == "ingest":
        return sum(table.rows for table in ingest(etl_url, DuckDBWarehouse(path), now=NOW))
    rows = 0
    path.parent.mkdir()
    with open_source(etl_url) as source, duckdb.connect(str(path)) as target:
        for table in TABLES:
            query = select(table, source.columns(table), "true")
            if way == "read":
                rows += sum(batch.num_rows for batch in source.batches(query))
                continue
            with source.connection.cursor() as cursor:
                cursor.execute(query)
                target.register("arrived", cursor.fetch_record_batch())
                made = target.execute(f"CREATE TABLE {table} AS SELECT * FROM arrived").fetchone()
                assert made is not None
                rows += int(made[0])
    return rows


def timed(way: str, etl_url: str, folder: Path) -> Run:
    """One run in a fresh process; seconds without its start."""
    command = [sys.executable, "-m", "tests.benchmarks.bench_ingest", "--way", way, etl_url, str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=PROJECT_ROOT)
    assert process.stdout is not None
    said = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"{way} ended with {process.returncode}")
    found = json.loads(said)
    return Run(found["rows"], found["seconds"], used.ru_maxrss * 1024)


def measure(etl_url: str, folder: Path, runs: int) -> list[Figure]:
    """Medians of runs that take turns."""
    made: dict[str, list[Run]] = {way: [] for way in WAYS}
    for number in range(runs):
        for way in WAYS:
            made[way].append(timed(way, etl_url, folder))
            one = made[way][-1]
            print(f"run {number + 1}, {way}: {one.rows:,} rows in {one.seconds:.1f} s, {one.peak_bytes / 1e6:.0f} MB")
    speed = {way: statistics.median(run.speed for run in made[way]) for way in WAYS}
    peak = max(run.peak_bytes for run in made["ingest"])
    lost = abs(made["ingest"][0].rows - made["bare"][0].rows)
    return [
        figure("ingest beside a bare stream into DuckDB", speed["ingest"], "rows/s", speed["bare"], at_least=0.5),
        figure("ingest beside reading alone", speed["ingest"], "rows/s", speed["read"]),
        figure("peak memory of the process", peak / MEGABYTE, "MB", at_most=500),
        figure("rows the bare stream found and ingest did not", lost, "rows", at_most=0),
    ]


def main() -> int:
    """Zero when every goal is met and nothing is lost. Runs on a PostgreSQL of its own, stopped at the end."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=2_000_000, help="messages and status events together")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--way", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.way:
        started = time.perf_counter()
        rows = perform(given.way[0], given.way[1], Path(given.way[2]))
        print(json.dumps({"rows": rows, "seconds": time.perf_counter() - started}))
        return 0
    with scratch_database("bench-ingest") as (folder, urls):
        make_history(urls["admin"], given.rows * 2 // 5, NOW)
        made = measure(urls["etl_read"], folder, given.runs)
    return report("ingest", made, rows=given.rows, runs=given.runs)


if __name__ == "__main__":
    sys.exit(main())
