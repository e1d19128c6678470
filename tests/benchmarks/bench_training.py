"""How long training takes: all three models of one large tenant, and those of many small ones in one warehouse.

    python -m tests.benchmarks.bench_training [contacts of the large tenant [small tenants [contacts of each]]]

prints a table and writes $RAPPORT_HOME/bench/training.json. The large tenant is of the simulator's people, 90 days with
weekly campaigns, imported, ingested and built; the small ones are made of its people in turn. What is timed is what the
graph does for each tenant: build_dataset, then learn, whose bundle is promoted if the gate lets it.
"""

from __future__ import annotations

import datetime as dt
import resource
import sys
import time
import uuid
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from feature_store.feature_views import FEATURE_VIEWS
from feature_store.warehouse import DuckDBWarehouse
from tests.benchmarks.bench_learning import build_warehouse
from tests.benchmarks.reporting import Figure, figure, report, scratch_database
from tests.benchmarks.simulated_tenant import MODEL_INPUTS, make_tenant
from training.cycle import learn
from training.datasets import build_dataset
from training.errors import EmptySplit, TooFewLabels
from training.models import MODEL_NAMES
from training.registry import Registry, log_abstention
from training.retention import actions_followed_by_return
from training.settings import TrainingSettings

CONTACTS, TENANTS, CONTACTS_EACH = 50_000, 100, 2_000
SEED = 7
NAMESPACE = uuid.UUID("3f0f6f0e-8c0b-4f57-9f5c-6f1c1f1f5a11")
BY_TENANT = ("marts.dim_tenants", "marts.dim_campaigns")
BY_CONTACT = (
    "marts.dim_contacts",
    "marts.fct_sends",
    "marts.fct_contact_days",
    *sorted({view.source.table for view in FEATURE_VIEWS}),
)


@dataclass
class Lessons:
    """Seconds and outcomes of training some tenants. `steps` sums the seconds of each step over models and tenants."""

    seconds: float = 0.0
    rows: int = 0
    promoted: int = 0
    kept: int = 0
    abstained: int = 0
    steps: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    figures: dict[str, float] = field(default_factory=dict)


def teach(
    warehouse: DuckDBWarehouse, tenant_id: str, slug: str, settings: TrainingSettings, now: dt.datetime, into: Lessons
) -> None:
    """All three models of a tenant, as the graph trains them, added up in `into`."""
    begun = time.perf_counter()
    tracked = Registry(settings.tracking_uri, slug)
    for model in MODEL_NAMES:
        started = time.perf_counter()
        try:
            dataset = build_dataset(
                warehouse,
                tenant_id,
                model,
                now,
                MODEL_INPUTS,
                max_rows=settings.max_rows,
                min_labels_per_class=settings.min_labels_per_class,
            )
            into.steps["dataset"] += time.perf_counter() - started
            started = time.perf_counter()
            notes = {"actions": actions_followed_by_return(warehouse, tenant_id, now)} if model == "churn" else None
            into.steps["retention"] += time.perf_counter() - started
            turn = learn(dataset, tracked, settings, seed=SEED, now=now, notes=notes)
        except (TooFewLabels, EmptySplit) as reason:
            log_abstention(tracked, model, tenant_id, str(reason), {})
            into.abstained += 1
            continue
        for step, seconds in turn.seconds.items():
            into.steps[step] += seconds
            into.steps[f"{model}: {step}"] += seconds
        into.rows += dataset.frame.height
        into.promoted += turn.verdict.promote
        into.kept += not turn.verdict.promote
        into.figures[f"{model} rows"] = dataset.frame.height
        into.figures[f"{model} auc"] = round(turn.evaluation.auc.value, 4)
    into.seconds += time.perf_counter() - begun


def share_out(source: DuckDBWarehouse, tenant_id: str, path: Path, tenants: int, parts: int) -> list[str]:
    """The ids of `tenants` new tenants in a warehouse of their own; each has one of `parts` parts of the people, in
    turn."""
    import duckdb

    ids = [str(uuid.uuid5(NAMESPACE, str(number))) for number in range(tenants)]
    with duckdb.connect(str(path)) as target:
        target.execute("SET TimeZone = 'UTC'")
        target.execute(f"ATTACH '{source.path}' AS source (READ_ONLY)")
        target.execute(
            "CREATE SCHEMA marts; CREATE SCHEMA features; CREATE TEMP TABLE shares (id VARCHAR, part INTEGER)"
        )
        target.executemany("INSERT INTO shares VALUES (?, ?)", [(one, n % parts) for n, one in enumerate(ids)])
        for table in (*BY_TENANT, *BY_CONTACT):
            # Sampling by contact reads md5; another hash keeps the two apart.
            theirs = "true" if table in BY_TENANT else f"hash(rows.contact_id) % {parts} = shares.part"
            target.execute(
                f"CREATE TABLE {table} AS SELECT rows.* REPLACE (shares.id AS tenant_id) FROM source.{table} AS rows"
                f" INNER JOIN shares ON {theirs} WHERE rows.tenant_id = ? ORDER BY tenant_id",
                [tenant_id],
            )
    return ids


def figures_of(name: str, taught: Lessons, most_seconds: float | None) -> list[Figure]:
    """The time beside its goal and where it went, the largest first."""
    made = [figure(f"{name}: all models", taught.seconds, "s", at_most=most_seconds)]
    parts = sorted(taught.steps.items(), key=lambda step: -step[1])
    return made + [figure(f"{name}: {step}", seconds, "s") for step, seconds in parts if seconds > 0]


def main(arguments: list[str]) -> int:
    """Zero when both goals are met; they are judged at full size only."""
    given = [int(text) for text in arguments]
    contacts, tenants, each = given + [CONTACTS, TENANTS, CONTACTS_EACH][len(given) :]
    full = (contacts, tenants, each) == (CONTACTS, TENANTS, CONTACTS_EACH)
    now = dt.datetime.now(dt.UTC)
    prepared: dict[str, float] = {}
    with scratch_database("bench-training") as (folder, urls):
        started = time.perf_counter()
        large = make_tenant(urls["admin"], contacts, now, SEED).tenant_id
        prepared["simulate"] = time.perf_counter() - started
        warehouse, laps = build_warehouse(urls["etl_read"], folder / "warehouse.duckdb", folder)
        started = time.perf_counter()
        small = share_out(warehouse, large, folder / "many.duckdb", tenants, max(contacts // each, 1))
        many = DuckDBWarehouse(folder / "many.duckdb")
        prepared |= laps | {"share out": time.perf_counter() - started}
        settings = TrainingSettings(
            tracking_uri=f"sqlite:///{folder / 'mlflow' / 'mlflow.db'}", bundles_dir=folder / "bundles"
        )
        # The first use of an MLflow database makes its tables, once in an installation's life.
        started = time.perf_counter()
        Registry(settings.tracking_uri, "first").client().search_experiments()
        prepared["make MLflow's tables"] = time.perf_counter() - started
        one, all_small = Lessons(), Lessons()
        teach(warehouse, large, "large", settings, now, one)
        for number, tenant_id in enumerate(small):
            teach(many, tenant_id, f"small-{number}", settings, now, all_small)
    found = figures_of(f"{contacts:,} contacts", one, 60 if full else None)
    found += figures_of(f"{tenants} tenants of {each:,}", all_small, 600 if full else None)
    found.append(figure("a small tenant", all_small.seconds / tenants, "s"))
    found.append(figure("peak memory", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, "GiB"))
    found += [figure(f"preparation: {step}", seconds, "s") for step, seconds in prepared.items()]
    return report("training", found, large=_told(one), small=_told(all_small))


def _told(taught: Lessons) -> dict[str, Any]:
    """What a table has no room for."""
    return {
        "rows": taught.rows,
        "promoted": taught.promoted,
        "kept as challenger": taught.kept,
        "abstained": taught.abstained,
        **taught.figures,
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
