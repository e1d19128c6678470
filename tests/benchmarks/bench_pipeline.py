"""The whole Dagster graph, by `rapport run`, beside `dbt build` and the training functions called bare.

Both begin with nothing built and nothing parsed, each in a process of its own, so that what they import is part of the
time.

    python -m tests.benchmarks.bench_pipeline [messages]
"""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
import time

from orchestration.runtime.home import PROJECT_ROOT
from tests.benchmarks.made_history import SLUG, make_history
from tests.benchmarks.reporting import figure, report
from tests.orchestration.installation import Installation, installed

MESSAGES = 100_000
BARE = """
import datetime as dt, json, os, subprocess, sys, time
from pathlib import Path
begun = time.perf_counter()
project, tenant_id, slug, folder = sys.argv[1:5]
subprocess.run(
    [str(Path(sys.executable).with_name("dbt")), "build", "--quiet", "--exclude-resource-type", "unit_test",
     "--project-dir", project, "--profiles-dir", project], check=True,
)
built = time.perf_counter()
from feature_store.warehouse import warehouse_at
from training.cycle import learn
from training.datasets import build_dataset
from training.errors import EmptySplit, TooFewLabels
from training.registry import Registry
from training.settings import TrainingSettings
warehouse, configured = warehouse_at(os.environ["FEATURE_STORE_WAREHOUSE"]), TrainingSettings()
now = dt.datetime.now(dt.UTC)
tracked = Registry(configured.tracking_uri, slug, configured.artifacts_dir)
outcomes = {}
for model in ("lead_scoring", "churn", "engagement"):
    try:
        rows = build_dataset(warehouse, tenant_id, model, now, {}, max_rows=configured.max_rows,
                             min_labels_per_class=configured.min_labels_per_class)
        outcomes[model] = learn(rows, tracked, configured, seed=20_260_101, now=now).verdict.reason
    except (TooFewLabels, EmptySplit) as reason:
        outcomes[model] = f"abstained: {reason}"
print(json.dumps({"dbt": built - begun, "training": time.perf_counter() - built, "outcomes": outcomes}))
"""


def main(messages: int) -> int:
    with installed() as installation:
        installation.done("migrate")
        tenant = make_history(installation.url(), messages, dt.datetime.now(dt.UTC) - dt.timedelta(hours=2))
        begun = time.perf_counter()
        (run,) = installation.metadata("run")
        graph = time.perf_counter() - begun
        bare = _bare(installation, tenant)
    steps = {step["name"]: step["seconds"] for step in run["steps"]}  # type: ignore[index]
    limit = bare["dbt"] + bare["training"]
    figures = [
        figure("the whole graph, as a command", graph, "s", limit, at_most=1.5),
        figure("dbt in the graph", steps["dbt"], "s", bare["dbt"]),
        *(figure(f"step {step}", seconds, "s") for step, seconds in steps.items() if seconds >= 0.5 and step != "dbt"),
        figure("outside the steps", graph - sum(steps.values()), "s"),
    ]
    return report("pipeline", figures, messages=messages, bare=bare)


def _bare(installation: Installation, tenant: str) -> dict[str, float]:
    """Seconds of dbt and of training, over the rows the graph ingested, into places of their own."""
    folder = installation.home.path / "bare"
    folder.mkdir()
    os.link(installation.home.warehouse.with_name("raw.duckdb"), folder / "raw.duckdb")
    environment = installation.environment | {
        "FEATURE_STORE_DBT_TARGET": "duckdb",
        "FEATURE_STORE_WAREHOUSE": str(folder / "warehouse.duckdb"),
        "FEATURE_STORE_RAW": str(folder / "raw.duckdb"),
        "TRAINING_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}",
        "TRAINING_BUNDLES_DIR": str(folder / "bundles"),
        "DBT_TARGET_PATH": str(folder / "target"),
        "DBT_LOG_PATH": str(folder),
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
    }
    project = str(PROJECT_ROOT / "dbt_project")
    done = subprocess.run(
        [sys.executable, "-c", BARE, project, tenant, SLUG, str(folder)],
        cwd=PROJECT_ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(done.stdout[-1000:] + done.stderr[-2000:])
    measured: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return measured


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else MESSAGES))
