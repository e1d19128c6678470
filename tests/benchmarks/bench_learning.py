"""How much is learnt from a real history: import it, build the warehouse, and judge the models on people never seen.

`python tests/benchmarks/bench_learning.py` prints a table and writes $RAPPORT_HOME/bench/learning.json. DATA names the
folder of data sets (default: shared/data beside the checkout). tests/e2e/test_starbucks.py calls the same functions.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import sqlalchemy as sa

from feature_store.ingest import ingest
from feature_store.warehouse import Warehouse
from serving.importing.service import import_history
from serving.kit.database import Database
from training import metrics
from training.datasets import Split, build_dataset, split_people
from training.errors import TooFewLabels
from training.evaluate import Evaluation, evaluate
from training.train import one_native_thread, train

PROJECT_ROOT = Path(__file__).parents[2]
MAPPING = PROJECT_ROOT / "docs" / "examples" / "starbucks" / "mapping.yaml"
SEED = 0
GOALS = {"engagement": 0.85, "lead_scoring": 0.855}
NAMES = {"engagement": "read", "lead_scoring": "converted"}


@dataclass(frozen=True)
class Prepared:
    """A tenant's history in a built warehouse. `seconds` by step."""

    warehouse: Warehouse
    tenant_id: str
    model_inputs: dict[str, Any]
    seconds: dict[str, float] = field(default_factory=dict)

    def last_event_at(self) -> dt.datetime:
        """The newest thing the history holds, UTC."""
        newest = "select max(greatest(sent_at, coalesce(read_at, sent_at), coalesce(converted_at, sent_at))) as newest"
        frame = self.warehouse.query(f"{newest} from marts.fct_sends where tenant_id = ?", [self.tenant_id])
        found: dt.datetime = frame["newest"][0]
        return found


@dataclass(frozen=True)
class Judged:
    """One model on people never seen, beside a quick gradient boosting of the same columns on the same people."""

    evaluation: Evaluation
    reference_auc: float
    rows: int
    excluded: dict[str, int]
    fit_seconds: float


def prepare(worker_url: str, etl_url: str, tenant_id: uuid.UUID, data: Path, folder: Path) -> Prepared:
    """The history of `data`/starbucks_offers imported into the tenant, ingested, and every dbt model built."""
    laps: dict[str, float] = {}
    started = time.perf_counter()
    import_history(
        worker_url,
        tenant_id,
        MAPPING,
        dt.datetime.now(dt.UTC),
        phone_key="bench-learning",
        variables={"data": str(data / "starbucks_offers")},
        strict=True,
    )
    laps["import"] = time.perf_counter() - started
    warehouse, built = build_warehouse(etl_url, folder / "warehouse.duckdb", folder)
    with Database(worker_url).tenant(tenant_id) as session:
        settings = session.execute(
            sa.text("SELECT settings FROM tenants WHERE id = :id"), {"id": tenant_id}
        ).scalar_one()
    return Prepared(warehouse, str(tenant_id), settings["model_inputs"], laps | built)


def build_warehouse(operational_url: str, path: Path, scratch: Path) -> tuple[Warehouse, dict[str, float]]:
    """Everything ingested and every dbt model built; the seconds of both. Raises RuntimeError with what dbt said."""
    warehouse, laps = Warehouse(path), {}
    started = time.perf_counter()
    ingest(operational_url, warehouse, now=dt.datetime.now(dt.UTC))
    laps["ingest"] = time.perf_counter() - started
    started = time.perf_counter()
    project = PROJECT_ROOT / "dbt_project"
    environment = os.environ | {
        "DBT_PROFILES_DIR": str(project),
        "DBT_TARGET_PATH": str(scratch / "target"),
        "DBT_LOG_PATH": str(scratch / "logs"),
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        "FEATURE_STORE_WAREHOUSE": str(path),
    }
    command = [str(Path(sys.executable).with_name("dbt")), "build", "--project-dir", str(project), "--quiet"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError((done.stdout + done.stderr)[-3_000:])
    laps["dbt build"] = time.perf_counter() - started
    return warehouse, laps


def judge(prepared: Prepared, model: str, now: dt.datetime) -> Judged:
    """The model, taught on seven tenths of the people and judged on the rest; labels settled by `now`."""
    dataset = build_dataset(prepared.warehouse, prepared.tenant_id, model, now, prepared.model_inputs)
    split = split_people(dataset, SEED)
    trained = train(split, seed=SEED, now=now)
    return Judged(
        evaluate(trained, split, seed=SEED),
        reference_auc(split),
        dataset.frame.height,
        dict(dataset.excluded),
        trained.seconds,
    )


def reference_auc(split: Split) -> float:
    """What an untuned gradient boosting reaches on the same rows and columns: the limit measured in the same run."""
    from xgboost import XGBClassifier

    def learnt(part: str) -> Any:
        matrices = (split.fit.matrix(), split.calibrate.matrix())
        labels = (split.fit.labels(), split.calibrate.labels())
        return np.vstack(matrices) if part == "matrix" else np.concatenate(labels)

    quick = XGBClassifier(n_estimators=200, max_depth=5, learning_rate=0.1, n_jobs=1, random_state=SEED)
    with one_native_thread():
        quick.fit(learnt("matrix"), learnt("labels"))
    return metrics.auc(split.test.labels(), quick.predict_proba(split.test.matrix())[:, 1])


def figures(prepared: Prepared) -> list[dict[str, Any]]:
    """AUC on people never seen, for reading and for converting, and how long the fits took.

    Sends whose window had not closed when the history ends count as they stand, as in the published comparisons; the
    `settled` figures leave them out.
    """
    made = []
    ends_at = prepared.last_event_at()
    for model, goal in GOALS.items():
        whole = judge(prepared, model, ends_at + dt.timedelta(days=60))
        settled = judge(prepared, model, ends_at)
        for name, judged in ((NAMES[model], whole), (f"{NAMES[model]}, settled", settled)):
            found = judged.evaluation
            made.append(
                figure(f"AUC {name}", found.auc.value, "AUC", judged.reference_auc, goal if judged is whole else None)
                | {
                    "interval": [round(found.auc.lower, 4), round(found.auc.upper, 4)],
                    "rule": round(found.rule_auc, 4),
                    "beats_rule": found.gain_over_rule.lower > 0,
                    "average_precision": round(found.average_precision, 4),
                    "brier": round(found.brier, 4),
                    "base_rate": round(found.base_rate, 4),
                    "calibration_error": round(found.calibration_error, 4),
                    "rows": judged.rows,
                    "excluded": judged.excluded,
                }
            )
        made.append(figure(f"fit {model}", whole.fit_seconds, "s", 10.0, None) | {"ok": whole.fit_seconds < 10.0})
    made += [figure(step, seconds, "s", None, None) for step, seconds in prepared.seconds.items()]
    return made


def abstains_from_churn(prepared: Prepared) -> str | None:
    """Why churn is not learnt: a month of history holds no week with 28 settled days on both sides. None if it is."""
    try:
        build_dataset(prepared.warehouse, prepared.tenant_id, "churn", prepared.last_event_at(), prepared.model_inputs)
    except TooFewLabels as reason:
        return str(reason)
    return None


def figure(name: str, value: float, unit: str, limit: float | None, goal: float | None) -> dict[str, Any]:
    return {
        "name": name,
        "value": round(value, 4),
        "unit": unit,
        "limit": None if limit is None else round(limit, 4),
        "ratio": None if not limit else round(value / limit, 4),
        "goal": goal,
        "ok": goal is None or value >= goal,
    }


def table(made: list[dict[str, Any]]) -> str:
    """The figures as aligned text."""
    rows = [["figure", "value", "limit", "ratio", "goal", "ok"]]
    for one in made:
        cells = [one["name"], f"{one['value']:g} {one['unit']}", one["limit"], one["ratio"], one["goal"], one["ok"]]
        rows.append(["" if cell is None else str(cell) for cell in cells])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)


def main() -> int:
    """Zero when every goal is met. Runs on a PostgreSQL of its own, stopped at the end."""
    from orchestration.runtime.home import Home
    from orchestration.runtime.postgres import EmbeddedPostgres
    from serving.migrations.service import LOGIN_ROLES, create_database, migrate

    data = Path(os.environ.get("DATA") or PROJECT_ROOT.parent / "shared" / "data")
    if not (data / "starbucks_offers").is_dir():
        print(f"{data} holds no starbucks_offers; name the folder of data sets in DATA")
        return 2
    with tempfile.TemporaryDirectory(prefix="bench-learning-") as name:
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
            tenant_id = uuid.uuid4()
            with psycopg.connect(admin) as connection:
                connection.execute("INSERT INTO tenants (id, slug, name) VALUES (%s, 'bench', 'Bench')", (tenant_id,))
            urls = (server.url(role, f"postgres_{role}", "bench") for role in ("worker", "etl_read"))
            made = figures(prepare(*urls, tenant_id, data, folder))
        finally:
            server.stop()
    print(table(made))
    bench = Path(os.environ.get("RAPPORT_HOME") or PROJECT_ROOT / ".rapport") / "bench"
    bench.mkdir(parents=True, exist_ok=True)
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    report = {"name": "learning", "machine": machine, "figures": made}
    (bench / "learning.json").write_text(json.dumps(report, indent=1))
    return 0 if all(one["ok"] for one in made) else 1


if __name__ == "__main__":
    sys.exit(main())
