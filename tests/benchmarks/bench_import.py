"""How fast a history goes from files to the operational tables, beside what COPY alone can do in the same run.

`python -m tests.benchmarks.bench_import` prints a table and writes $RAPPORT_HOME/bench/import.json. DATA names the
folder of data sets (default: shared/data beside the checkout). Run it alone: it keeps two cores busy.
"""

from __future__ import annotations

import datetime as dt
import os
import statistics
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from serving.importing.service import ImportSummary, import_history
from tests.benchmarks.reporting import PROJECT_ROOT, Figure, figure, report, scratch_database

MAPPING = PROJECT_ROOT / "docs" / "examples" / "starbucks" / "mapping.yaml"
EVENTS = {"messages": "messages", "statuses": "message_status_events", "orders": "orders", "conversions": "conversions"}
RUNS = 5
FLOOR = 50_000
GOAL = 100_000


def timed_import(app_url: str, admin_url: str, data: Path) -> tuple[ImportSummary, uuid.UUID, float]:
    """One import into a new tenant and its seconds, from reading the mapping to the last commit."""
    tenant_id = uuid.uuid4()
    with psycopg.connect(admin_url) as connection:
        connection.execute("INSERT INTO tenants (id, slug, name) VALUES (%s, %s, 'Bench')", (tenant_id, tenant_id.hex))
    started = time.perf_counter()
    variables = {"data": str(data / "starbucks_offers")}
    summary = import_history(
        app_url, tenant_id, MAPPING, dt.datetime.now(dt.UTC), phone_key="bench", variables=variables
    )
    return summary, tenant_id, time.perf_counter() - started


def lost_rows(admin_url: str, tenant_id: uuid.UUID, summary: ImportSummary) -> int:
    """Events claimed as loaded and not found."""
    claimed = found = 0
    with psycopg.connect(admin_url) as connection:
        for name, table in EVENTS.items():
            claimed += summary.tables[name].loaded
            query = sql.SQL("SELECT count(*) FROM {} WHERE tenant_id = %s").format(sql.Identifier(table))
            row = connection.execute(query, (tenant_id,)).fetchone()
            found += row[0] if row else 0
    return abs(claimed - found)


def timed_copies(admin_url: str, tenant_id: uuid.UUID) -> tuple[float, float]:
    """Rows/s of COPY of the same events: into bare tables, and into the real ones with their indexes and keys."""
    content: dict[str, list[bytes]] = {}
    rows = 0
    bare = real = 0.0
    with psycopg.connect(admin_url) as connection:
        for table in EVENTS.values():
            name = sql.Identifier(table)
            query = sql.SQL("COPY (SELECT * FROM {} WHERE tenant_id = {}) TO STDOUT").format(
                name, sql.Literal(tenant_id)
            )
            with connection.cursor().copy(query) as copy:
                content[table] = [bytes(part) for part in copy]
            rows += len(content[table])
        for table in EVENTS.values():
            connection.execute(
                sql.SQL("CREATE TABLE {} (LIKE {})").format(sql.Identifier(f"bare_{table}"), sql.Identifier(table))
            )
            connection.execute(
                sql.SQL("DELETE FROM {} WHERE tenant_id = %s").format(sql.Identifier(table)), (tenant_id,)
            )
        connection.commit()
        for table in EVENTS.values():
            bare += _copy(connection, f"bare_{table}", b"".join(content[table]))
            real += _copy(connection, table, b"".join(content[table]))
    return rows / bare, rows / real


def _copy(connection: psycopg.Connection[Any], table: str, content: bytes) -> float:
    started = time.perf_counter()
    with connection.cursor().copy(sql.SQL("COPY {} FROM STDIN").format(sql.Identifier(table))) as copy:
        copy.write(content)
    connection.commit()
    return time.perf_counter() - started


def measure(app_url: str, admin_url: str, data: Path) -> list[Figure]:
    speeds = []
    for number in range(RUNS):
        summary, tenant_id, seconds = timed_import(app_url, admin_url, data)
        events = sum(summary.tables[name].read for name in EVENTS)
        speeds.append(events / seconds)
        print(f"run {number + 1}: {events:,} events in {seconds:.2f} s, load average {os.getloadavg()[0]:.1f}")
    lost = lost_rows(admin_url, tenant_id, summary)
    bare, real = timed_copies(admin_url, tenant_id)
    middle, best = statistics.median(speeds), max(speeds)
    return [
        figure("import, median", middle, "events/s", at_least=GOAL),
        figure("import, median, at least", middle, "events/s", at_least=FLOOR),
        figure("import, best", best, "events/s", at_least=FLOOR),
        figure("import beside COPY into bare tables", middle, "events/s", bare),
        figure("import beside COPY into the real tables", middle, "events/s", real),
        figure("events claimed and not found", lost, "events", at_most=0),
    ]


def main() -> int:
    """Zero when every goal is met and nothing is lost. Runs on a PostgreSQL of its own, stopped at the end."""
    data = Path(os.environ.get("DATA") or PROJECT_ROOT.parent / "shared" / "data")
    if not (data / "starbucks_offers").is_dir():
        print(f"{data} holds no starbucks_offers; name the folder of data sets in DATA")
        return 2
    with scratch_database("bench-import") as (_, urls):
        made = measure(urls["app"], urls["admin"], data)
    return report("import", made)


if __name__ == "__main__":
    sys.exit(main())
