"""What a whole load and then one more day cost at 1, 5 and 20 million messages: seconds and memory of every step.

`python -m tests.benchmarks.bench_scale [--millions 1 5 20]` prints a table and writes $RAPPORT_HOME/bench/scale.json.
Each step is a process of its own, so that its peak of memory is its own. Twenty million take half an hour and 40 GB of
disk beside the temporary folder (TMPDIR).
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import redis

from tests.benchmarks.made_history import SLUG, add_day, make_history
from tests.benchmarks.reporting import PROJECT_ROOT, Figure, figure, report, scratch_database

GIB = 2**30
STEPS = ("ingest", "contracts", "dbt build", "features online")
# Of 1M and 20M messages: beyond a tenth more a message, the cost is no longer linear.
LINEAR = 1.1


@dataclass(frozen=True)
class Cost:
    seconds: float
    peak_bytes: int


@dataclass(frozen=True)
class Size:
    """One history: what its first load cost by step, and what the next day did."""

    messages: int
    first: dict[str, Cost]
    day: dict[str, Cost]


def measure(messages: int, now: dt.datetime) -> Size:
    """Runs on a PostgreSQL and a Redis of its own, removed at the end."""
    from orchestration.runtime.home import Home
    from orchestration.runtime.redis import EmbeddedRedis

    with scratch_database("bench-scale") as (folder, urls):
        store = EmbeddedRedis(Home(folder))
        store.start()
        try:
            yesterday = now - dt.timedelta(days=1)
            tenant_id = make_history(urls["admin"], messages, yesterday)
            print(f"{messages:,} messages made", flush=True)
            given = {"FEATURE_STORE_OPERATIONAL_URL": urls["etl_read"], "FEATURE_STORE_REDIS_URL": store.url()}
            first = load(folder, given, tenant_id, yesterday)
            add_day(urls["admin"], messages, now)
            day = load(folder, given, tenant_id, now)
            with redis.Redis.from_url(store.url()) as client:
                contacts = messages // 20
                assert client.dbsize() >= contacts, f"{client.dbsize():,} rows online of {contacts:,} contacts"
        finally:
            store.stop()
    return Size(messages, first, day)


def load(folder: Path, given: dict[str, str], tenant_id: str, as_of: dt.datetime) -> dict[str, Cost]:
    """Everything that arrived, brought up to the online store as it was known at `as_of`. Raises RuntimeError."""
    from feature_store.warehouse import DuckDBWarehouse

    warehouse = DuckDBWarehouse(folder / "warehouse.duckdb")
    project = PROJECT_ROOT / "dbt_project"
    dbt = {
        "DBT_PROFILES_DIR": str(project),
        "DBT_TARGET_PATH": str(folder / "target"),
        "DBT_LOG_PATH": str(folder / "logs"),
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
    } | warehouse.dbt_environment()
    environment = os.environ | dbt | given
    step = [sys.executable, "-m", "tests.benchmarks.bench_scale"]
    words = [str(folder), tenant_id, as_of.isoformat()]
    dbt_program = str(Path(sys.executable).with_name("dbt"))
    of_project = ["--project-dir", str(project), "--quiet", "--vars", f"{{as_of: '{as_of.isoformat()}'}}"]
    # dbt parses the whole project anew for other variables than the last time's; the product's are the same every day.
    run([dbt_program, "parse", *of_project], environment)
    commands = {
        "ingest": [*step, "--step", "ingest", *words],
        "contracts": [*step, "--step", "contracts", *words],
        "dbt build": [dbt_program, "build", "--exclude-resource-type", "unit_test", *of_project],
        "features online": [*step, "--step", "features online", *words],
    }
    costs = {}
    for name in STEPS:
        costs[name] = run(commands[name], environment)
        print(f"  {name}: {costs[name].seconds:.1f} s, {costs[name].peak_bytes / GIB:.2f} GiB", flush=True)
    return costs


def run(command: list[str], environment: dict[str, str]) -> Cost:
    """Of a process and its whole life. Raises RuntimeError with what it said."""
    started = time.perf_counter()
    said = Path(environment["DBT_TARGET_PATH"]).with_name("said.log")
    with said.open("w") as out:
        process = subprocess.Popen(command, env=environment, cwd=PROJECT_ROOT, stdout=out, stderr=out)
        _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(said.read_text()[-3_000:])
    return Cost(time.perf_counter() - started, used.ru_maxrss * 1024)


def perform(step: str, folder: Path, tenant_id: str, as_of: dt.datetime) -> None:
    """One step in this process."""
    from feature_store import materialize
    from feature_store.ingest import TABLES, ingest
    from feature_store.warehouse import DuckDBWarehouse

    warehouse = DuckDBWarehouse(folder / "warehouse.duckdb")
    if step == "ingest":
        ingest(os.environ["FEATURE_STORE_OPERATIONAL_URL"], warehouse, now=as_of)
    elif step == "contracts":
        from orchestration.defs.ingest.boundary import judge_new_rows
        from orchestration.defs.ingest.judging import Judge

        judge = Judge(folder / "great_expectations", folder / "data_docs")
        for table, verdict in judge_new_rows(warehouse, TABLES, judge, as_of):
            assert verdict.passed, (table, verdict.broken)
        judge.write_pages()
    else:
        materialize(warehouse, os.environ["FEATURE_STORE_REDIS_URL"], tenant_id, as_of)


def figures(sizes: list[Size]) -> list[Figure]:
    """What was asked: linear from the smallest size on, a day at a tenth, memory under ten GiB."""
    made = []
    for size in sizes:
        millions = size.messages / 1e6
        for name, costs in (("first load", size.first), ("one more day", size.day)):
            for step, cost in costs.items():
                made.append(figure(f"{millions:g}M, {name}, {step}", cost.seconds, "s"))
            peak = max(cost.peak_bytes for cost in costs.values()) / GIB
            made.append(figure(f"{millions:g}M, {name}, peak memory", peak, "GiB", at_most=10))
        first = sum(cost.seconds for cost in size.first.values())
        day = sum(cost.seconds for cost in size.day.values())
        made.append(figure(f"{millions:g}M, one more day beside the first load", day, "s", first, at_most=0.1))
        least = min(sizes, key=lambda one: one.messages)
        smallest = sum(cost.seconds for cost in least.first.values()) / least.messages
        a_million = figure(
            f"{millions:g}M, first load, a million messages", first / millions, "s", smallest * 1e6, at_most=LINEAR
        )
        made.append(a_million)
    return made


def main() -> int:
    """Zero when every goal is met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--millions", type=float, nargs="+", default=[1, 5, 20])
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    parser.add_argument("of_step", nargs="*", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.step:
        folder, tenant_id, as_of = given.of_step
        perform(given.step, Path(folder), tenant_id, dt.datetime.fromisoformat(as_of))
        return 0
    now = dt.datetime.now(dt.UTC)
    return report("scale", figures([measure(round(millions * 1e6), now) for millions in given.millions]), tenant=SLUG)


if __name__ == "__main__":
    sys.exit(main())
