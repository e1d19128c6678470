"""How much is learnt from a real history: import it, build the warehouse, and judge the models on people never seen.

`python -m tests.benchmarks.bench_learning` prints a table and writes $RAPPORT_HOME/bench/learning.json. DATA names the
folder of data sets (default: shared/data beside the checkout). tests/e2e/test_starbucks.py calls the same functions.
"""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import sqlalchemy as sa

from feature_store.ingest import ingest
from feature_store.warehouse import DuckDBWarehouse
from serving.importing.service import import_history
from serving.kit.database import Database
from tests.benchmarks.reporting import PROJECT_ROOT, Figure, figure, report, scratch_database
from training import metrics
from training.datasets import Split, build_dataset, split_people
from training.errors import TooFewLabels
from training.evaluate import Evaluation, evaluate
from training.train import one_native_thread, train

MAPPING = PROJECT_ROOT / "docs" / "examples" / "starbucks" / "mapping.yaml"
SEED = 0
GOALS = {"engagement": 0.85, "lead_scoring": 0.855}
NAMES = {"engagement": "read", "lead_scoring": "converted"}


@dataclass(frozen=True)
class Prepared:
    """A tenant's history in a built warehouse. `seconds` by step."""

    warehouse: DuckDBWarehouse
    tenant_id: str
    model_inputs: dict[str, Any]
    seconds: dict[str, float] = field(default_factory=dict)

    def last_event_at(self) -> dt.datetime:
        """The newest thing the history holds, UTC."""
        newest = "select max(greatest(sent_at, coalesce(read_at, sent_at), coalesce(converted_at, sent_at))) as newest"
        frame = self.warehouse.query(f"{newest} from marts.fct_sends where tenant_id = $1", [self.tenant_id])
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


def build_warehouse(operational_url: str, path: Path, scratch: Path) -> tuple[DuckDBWarehouse, dict[str, float]]:
    """Everything ingested and every dbt model built; the seconds of both. Raises RuntimeError with what dbt said."""
    warehouse, laps = DuckDBWarehouse(path), {}
    started = time.perf_counter()
    ingest(operational_url, warehouse, now=dt.datetime.now(dt.UTC))
    laps["ingest"] = time.perf_counter() - started
    started = time.perf_counter()
    project = PROJECT_ROOT / "dbt_project"
    environment = (
        os.environ
        | {
            "DBT_PROFILES_DIR": str(project),
            "DBT_TARGET_PATH": str(scratch / "target"),
            "DBT_LOG_PATH": str(scratch / "logs"),
            "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        }
        | warehouse.dbt_environment()
    )
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


def judged_models(prepared: Prepared) -> list[tuple[str, str, Judged]]:
    """(label, model, judged), twice a model: every send as it stands when the history ends, as in the published
    comparisons, and only those whose window had closed by then ("settled")."""
    ends_at = prepared.last_event_at()
    found = []
    for model in GOALS:
        found.append((NAMES[model], model, judge(prepared, model, ends_at + dt.timedelta(days=60))))
        found.append((f"{NAMES[model]}, settled", model, judge(prepared, model, ends_at)))
    return found


def figures(prepared: Prepared, judged: list[tuple[str, str, Judged]]) -> list[Figure]:
    """AUC on people never seen, for reading and for converting, and how long the fits took."""
    made = []
    for label, model, one in judged:
        settled = label != NAMES[model]
        found = one.evaluation
        made.append(figure(f"AUC {label}", found.auc.value, "AUC", at_least=None if settled else GOALS[model]))
        made.append(figure(f"AUC {label}, beside quick boosting", found.auc.value, "AUC", one.reference_auc))
        made.append(figure(f"AUC {label}, beside the rule", found.auc.value, "AUC", found.rule_auc))
        made.append(figure(f"gain over the rule {label}, lower bound", found.gain_over_rule.lower, "AUC", at_least=0))
        if not settled:
            made.append(figure(f"fit {model}", one.fit_seconds, "s", at_most=10))
    return made + [figure(step, seconds, "s") for step, seconds in prepared.seconds.items()]


def details(label: str, model: str, one: Judged) -> dict[str, Any]:
    """What a table has no room for."""
    found = one.evaluation
    return {
        "label": label,
        "model": model,
        "interval": [round(found.auc.lower, 4), round(found.auc.upper, 4)],
        "average_precision": round(found.average_precision.value, 4),
        "brier": round(found.brier.value, 4),
        "base_rate": round(found.base_rate, 4),
        "calibration_error": round(found.calibration_error.value, 4),
        "rows": one.rows,
        "excluded": one.excluded,
    }


def abstains_from_churn(prepared: Prepared) -> str | None:
    """Why churn is not learnt: a month of history holds no week with 28 settled days on both sides. None if it is."""
    try:
        build_dataset(prepared.warehouse, prepared.tenant_id, "churn", prepared.last_event_at(), prepared.model_inputs)
    except TooFewLabels as reason:
        return str(reason)
    return None


def main() -> int:
    """Zero when every goal is met. Runs on a PostgreSQL of its own, stopped at the end."""
    data = Path(os.environ.get("DATA") or PROJECT_ROOT.parent / "shared" / "data")
    if not (data / "starbucks_offers").is_dir():
        print(f"{data} holds no starbucks_offers; name the folder of data sets in DATA")
        return 2
    with scratch_database("bench-learning") as (folder, urls):
        tenant_id = uuid.uuid4()
        with psycopg.connect(urls["admin"]) as connection:
            connection.execute("INSERT INTO tenants (id, slug, name) VALUES (%s, 'bench', 'Bench')", (tenant_id,))
        prepared = prepare(urls["worker"], urls["etl_read"], tenant_id, data, folder)
        judged = judged_models(prepared)
    return report("learning", figures(prepared, judged), judged=[details(*one) for one in judged])


if __name__ == "__main__":
    sys.exit(main())
