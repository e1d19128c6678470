"""How near the models come to what could be known of people whose truth is known: the simulator's, with half a year of
history through the real warehouse.

`python -m tests.benchmarks.bench_simulated [--people 3000 [--seeds 31 32 33]] [--days 180]` prints a table of means
over the seeds, without `--people` for three small tenants and a large one, and writes every seed's own to
$RAPPORT_HOME/bench/simulated.json. The seeds were not looked at while the models
were made, but one figure of seed 31 was before the mass of the intervals was chosen (`training.intervals`).
"""

from __future__ import annotations

import argparse
import datetime as dt
import sys
from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from gateway.simulator.observer import Observer
from gateway.simulator.truth import ContactTruth
from tests.benchmarks.bench_learning import build_warehouse
from tests.benchmarks.reporting import Figure, figure, report, scratch_database
from tests.benchmarks.simulated_tenant import MODEL_INPUTS, SimulatedTenant, make_tenant, message_id
from training.datasets import Dataset, build_dataset, split_by_time
from training.evaluate import Evaluation, evaluate
from training.train import train

# The seeds of the tenants of each number of people.
TENANTS = {3_000: (31, 32, 33), 50_000: (31,)}
MODELS = ("lead_scoring", "engagement", "churn")
# Churn is rather a matter of who has already left than of who will: no bound was set for it.
GAP = {"lead_scoring": 0.02, "engagement": 0.02}
CALIBRATION_ERROR = 0.03
COVERED = (0.87, 0.93)
UNTIL = dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC)


def known_truth(tenant: SimulatedTenant, dataset: Dataset) -> pl.DataFrame:
    """`probability` as each outcome was drawn and `observable`, keyed as the rows are."""
    observer = Observer(tenant.people, tenant.history)
    if dataset.model != "churn":
        sends = tenant.history.sends
        which = 0 if dataset.model == "engagement" else 1
        return pl.DataFrame(
            {
                "message_id": [message_id(tenant.seed, send.provider_id) for send in sends],
                "probability": [(send.p_read, send.p_order)[which] for send in sends],
                "observable": [observer.send(send)[which] for send in sends],
            }
        )
    asked = dict(dataset.frame.group_by("event_timestamp").agg("contact_id").iter_rows())
    truth = ContactTruth(tenant.people, tenant.history, max(asked).timestamp())
    phone_of = {one: f"+{person.wa_id}" for person, one in zip(tenant.people, tenant.contact_ids, strict=True)}
    contact_of = {phone: contact for contact, phone in phone_of.items()}
    rows = []
    for moment, contacts in asked.items():
        at, phones = moment.timestamp(), {phone_of[contact] for contact in contacts}
        for drawn, seen in zip(truth.at(at, phones), observer.contacts(truth, at, phones), strict=True):
            rows.append((contact_of[str(drawn["phone"])], moment, drawn["p_inactive_28d"], seen["p_inactive_28d"]))
    keys = {"contact_id": pl.String, "event_timestamp": pl.Datetime("us", "UTC")}
    return pl.DataFrame(rows, schema=keys | {"probability": pl.Float64, "observable": pl.Float64}, orient="row")


def judged(people: int, days: int, seeds: Sequence[int]) -> dict[str, list[Evaluation]]:
    """Each model on the later period of every seed's tenant. Runs on a PostgreSQL of its own."""
    found: dict[str, list[Evaluation]] = {model: [] for model in MODELS}
    with scratch_database("bench-simulated") as (folder, urls):
        tenants = [make_tenant(urls["admin"], people, UNTIL, seed, days) for seed in seeds]
        warehouse, _ = build_warehouse(urls["etl_read"], folder / "warehouse.duckdb", folder)
        for tenant in tenants:
            print(f"{people:,} people of seed {tenant.seed} in the warehouse", flush=True)
            for model in MODELS:
                dataset = build_dataset(warehouse, tenant.tenant_id, model, UNTIL, MODEL_INPUTS)
                split = split_by_time(dataset)
                trained = train(split, seed=0, now=UNTIL)
                found[model].append(evaluate(trained, split, seed=0, truth=known_truth(tenant, split.test)))
    return found


def figures(people: int, found: Mapping[str, Sequence[Evaluation]]) -> list[Figure]:
    """Means over the seeds, beside the best possible."""
    made = []
    for model, all_seeds in found.items():
        name = f"{people:,} people, {model}"
        mean = {one: float(np.mean([each.figures()[one] for each in all_seeds])) for one in all_seeds[0].figures()}
        gap = mean["best_possible_auc"] - mean["auc"]
        made += [
            figure(f"{name}: AUC, beside the best possible", mean["auc"], "AUC", mean["best_possible_auc"]),
            figure(f"{name}: AUC of who sees the hidden state", mean["hidden_state_auc"], "AUC"),
            figure(f"{name}: short of the best possible", gap, "AUC", at_most=GAP.get(model)),
            figure(f"{name}: calibration error", mean["calibration_error"], "", at_most=CALIBRATION_ERROR),
        ]
        covered = [one.coverage.share for one in all_seeds if one.coverage is not None]
        if len(covered) < len(all_seeds):
            made.append(figure(f"{name}: tenants without an interval", len(all_seeds) - len(covered), "", at_most=0))
            continue
        share = float(np.mean(covered))
        made += [
            figure(f"{name}: 90 % intervals hold, at least", share, "", at_least=COVERED[0]),
            figure(f"{name}: 90 % intervals hold, at most", share, "", at_most=COVERED[1]),
            figure(f"{name}: mean width of the intervals", mean["interval_width"], ""),
        ]
    return made


def main(tenants: Mapping[int, Sequence[int]], days: int) -> int:
    """Zero when every goal is met."""
    made: list[Figure] = []
    by_seed = {}
    for people, seeds in tenants.items():
        found = judged(people, days, seeds)
        made += figures(people, found)
        by_seed[people] = {
            model: {seed: one.figures() for seed, one in zip(seeds, evaluations, strict=True)}
            for model, evaluations in found.items()
        }
    return report("simulated", made, days=days, by_seed=by_seed)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int)
    parser.add_argument("--seeds", type=int, nargs="+", default=[31, 32, 33])
    parser.add_argument("--days", type=int, default=180)
    given = parser.parse_args()
    sys.exit(main(TENANTS if given.people is None else {given.people: given.seeds}, given.days))
