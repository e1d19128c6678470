"""How much is learnt from histories nobody here wrote: import them, build the warehouse, and judge the models, as they
are, on people never seen.

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
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import sqlalchemy as sa
from psycopg.types.json import Jsonb

from feature_store.ingest import ingest
from feature_store.warehouse import DuckDBWarehouse
from serving.importing.service import import_history
from serving.kit.database import Database
from tests.benchmarks.public_sets import ALL_SETS, STARBUCKS, PublicSet
from tests.benchmarks.reporting import PROJECT_ROOT, Figure, figure, report, scratch_database
from training import metrics
from training.datasets import Split, build_dataset, split_people
from training.errors import TooFewLabels
from training.evaluate import Evaluation, evaluate
from training.train import one_native_thread, train

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
    churn_windows: dict[str, int] | None = None

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
    seconds = import_set(worker_url, tenant_id, STARBUCKS, data, folder)
    warehouse, built = build_warehouse(etl_url, folder / "warehouse.duckdb", folder)
    return prepared_tenant(worker_url, tenant_id, warehouse, {"import": seconds} | built)


def import_set(worker_url: str, tenant_id: uuid.UUID, public: PublicSet, data: Path, folder: Path) -> float:
    """Seconds of `rapport import` of the set into the tenant; a row that is rejected stops it."""
    unpacked = folder / public.name
    unpacked.mkdir()
    files = public.unpack(data / public.name, unpacked)
    started = time.perf_counter()
    import_history(
        worker_url,
        tenant_id,
        public.mapping,
        dt.datetime.now(dt.UTC),
        phone_key="bench-learning",
        variables={"data": str(files)},
        strict=True,
    )
    return time.perf_counter() - started


def prepared_tenant(
    worker_url: str, tenant_id: uuid.UUID, warehouse: DuckDBWarehouse, seconds: dict[str, float]
) -> Prepared:
    """The tenant with what its settings say of its models."""
    with Database(worker_url).tenant(tenant_id) as session:
        row = session.execute(sa.text("SELECT settings FROM tenants WHERE id = :id"), {"id": tenant_id})
        settings = row.scalar_one()
    return Prepared(warehouse, str(tenant_id), settings.get("model_inputs", {}), seconds, settings.get("churn_windows"))


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
    from tests.benchmarks.learning_strangers import figures_of_sets

    data = Path(os.environ.get("DATA") or PROJECT_ROOT.parent / "shared" / "data")
    missing = [public.name for public in ALL_SETS if not (data / public.name).is_dir()]
    if missing:
        print(f"{data} holds no {', '.join(missing)}; name the folder of data sets in DATA")
        return 2
    with scratch_database("bench-learning") as (folder, urls):
        # The ids of contacts come from the tenant's, and who falls into which fold from theirs.
        tenants = {public.name: uuid.uuid5(uuid.NAMESPACE_URL, public.name) for public in ALL_SETS}
        seconds = {}
        for public in ALL_SETS:
            tenant = (tenants[public.name], public.name.replace("_", "-"), public.name, Jsonb(public.settings))
            with psycopg.connect(urls["admin"]) as connection:
                connection.execute("INSERT INTO tenants (id, slug, name, settings) VALUES (%s, %s, %s, %s)", tenant)
            lap = import_set(urls["worker"], tenants[public.name], public, data, folder)
            seconds[f"import {public.name}"] = lap
        warehouse, built = build_warehouse(urls["etl_read"], folder / "warehouse.duckdb", folder)
        prepared = {
            name: prepared_tenant(urls["worker"], tenant_id, warehouse, {}) for name, tenant_id in tenants.items()
        }
        starbucks = replace(prepared[STARBUCKS.name], seconds=seconds | built)
        judged = judged_models(starbucks)
        found, told = figures_of_sets(prepared)
    return report("learning", found + figures(starbucks, judged), judged=told + [details(*one) for one in judged])


if __name__ == "__main__":
    sys.exit(main())
