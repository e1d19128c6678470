"""How fast a history goes from files to the operational tables, beside what COPY alone can do in the same run.

`python tests/benchmarks/bench_import.py` prints a table and writes $RAPPORT_HOME/bench/import.json. DATA names the
folder of data sets (default: shared/data beside the checkout). Run it alone: it keeps two cores busy.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import platform
import statistics
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from serving.importing.service import ImportSummary, import_history

PROJECT_ROOT = Path(__file__).parents[2]
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


def measure(app_url: str, admin_url: str, data: Path) -> list[dict[str, Any]]:
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
        figure("import, median", middle, "events/s", bare, GOAL, middle >= GOAL),
        figure("import, median, at least", middle, "events/s", bare, FLOOR, middle >= FLOOR),
        figure("import, best", best, "events/s", bare, FLOOR, best >= FLOOR),
        figure("import beside COPY into the real tables", middle, "events/s", real, None, True),
        figure("events claimed and not found", lost, "events", None, 0, lost == 0),
    ]


def figure(name: str, value: float, unit: str, limit: float | None, goal: float | None, ok: bool) -> dict[str, Any]:
    ratio = round(value / limit, 3) if limit else None
    return {
        "name": name,
        "value": round(value),
        "unit": unit,
        "limit": limit and round(limit),
        "ratio": ratio,
        "goal": goal,
        "ok": ok,
    }


def main() -> int:
    """Zero when the floor is met and nothing is lost. Runs on a PostgreSQL of its own, stopped at the end."""
    from orchestration.runtime.home import Home
    from orchestration.runtime.postgres import EmbeddedPostgres
    from serving.migrations.service import LOGIN_ROLES, create_database, migrate

    data = Path(os.environ.get("DATA") or PROJECT_ROOT.parent / "shared" / "data")
    if not (data / "starbucks_offers").is_dir():
        print(f"{data} holds no starbucks_offers; name the folder of data sets in DATA")
        return 2
    with tempfile.TemporaryDirectory(prefix="bench-import-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        home = Home(folder)
        server = EmbeddedPostgres(home)
        server.start()
        try:
            secrets = home.secrets()
            admin = server.url("postgres", "postgres_admin", "bench")
            create_database(admin)
            migrate(admin, {role: secrets[f"postgres_{role}"] for role in LOGIN_ROLES})
            made = measure(server.url("app", "postgres_app", "bench"), admin, data)
        finally:
            server.stop()
    for one in made:
        limit = f" of {one['limit']:,} by COPY" if one["limit"] else ""
        verdict = "" if one["goal"] is None else f"; goal {one['goal']:,} {'met' if one['ok'] else 'not met'}"
        print(f"{one['name']}: {one['value']:,} {one['unit']}{limit}{verdict}")
    bench = Path(os.environ.get("RAPPORT_HOME") or PROJECT_ROOT / ".rapport") / "bench"
    bench.mkdir(parents=True, exist_ok=True)
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    (bench / "import.json").write_text(json.dumps({"name": "import", "machine": machine, "figures": made}, indent=1))
    return 0 if all(one["ok"] for one in made if one["goal"] in (FLOOR, 0)) else 1


if __name__ == "__main__":
    sys.exit(main())
