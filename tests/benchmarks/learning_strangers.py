"""The public sets with one row a person or orders only: models as they are, every person judged by a model that never
saw them, and the drift check on the bank's years."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tests.benchmarks.bench_learning import SEED, Prepared, reference_auc
from tests.benchmarks.public_sets import BANK, CDNOW, TELCO
from tests.benchmarks.reporting import Figure, figure
from training import bootstrap, metrics
from training.datasets import Dataset, Split, build_dataset, split_by_time, split_folds
from training.drift import Drift, Periods, drift_of
from training.metrics import Interval
from training.models import model_named
from training.models.churn import Windows
from training.train import Trained, train

# CDNOW: the 273 days of the set end with 30 September 1997, and 90 days later every label is settled.
CDNOW_SETTLED = dt.datetime(1997, 12, 30, tzinfo=dt.UTC)
# Telco: four weeks after the day the mapping gives the snapshot.
TELCO_SETTLED = dt.datetime(2026, 6, 29, tzinfo=dt.UTC)
GOALS = {CDNOW.name: 0.775, TELCO.name: 0.84, BANK.name: 0.8}
BANK_TEST_SHARE = 0.3
# Who falls into which fold moves CDNOW's mean AUC of five folds by 0.001 or so, as far as it lies from its goal.
REPEATS = {CDNOW.name: 3}


@dataclass(frozen=True)
class Folds:
    """A model on folds of people it never saw, five at a time, maybe several times. `auc` is the mean over all folds,
    the two beside it are over those of the first time. `pooled` and `calibration_error` are over everybody's
    probability of the first time, the interval by bootstrap (95 %); `spread` is by how much the repeated means
    differ."""

    rows: int
    base_rate: float
    auc: float
    reference_auc: float
    rule_auc: float
    spread: float
    pooled: Interval
    calibration_error: float


def judge_folds(dataset: Dataset, now: dt.datetime, repeats: int = 1) -> Folds:
    """The model as shipped, beside the rule and beside an untuned boosting of the same columns and rows."""
    labels, probabilities, aucs, limits, rules = [], [], [], [], []
    for seed in range(SEED, SEED + repeats):
        for split in split_folds(dataset, seed):
            trained = train(split, seed=SEED, now=now)
            labels.append(split.test.labels())
            probabilities.append(trained.probability(split.test.matrix()))
            aucs.append(metrics.auc(labels[-1], probabilities[-1]))
            if seed == SEED:
                limits.append(reference_auc(split))
                rules.append(metrics.auc(labels[-1], model_named(dataset.model).score_by_rule(split.test.frame)))
    once = len(limits)
    outcome, given = np.concatenate(labels[:once]), np.concatenate(probabilities[:once])
    return Folds(
        rows=len(outcome),
        base_rate=float(outcome.mean()),
        auc=float(np.mean(aucs)),
        reference_auc=float(np.mean(limits)),
        rule_auc=float(np.mean(rules)),
        spread=float(np.ptp(np.reshape(aucs, (repeats, once)).mean(axis=1))),
        pooled=bootstrap.interval(metrics.auc_counted(outcome, given), len(outcome), SEED),
        calibration_error=metrics.calibration_error(outcome, given),
    )


def dataset_of(prepared: Prepared, model: str, now: dt.datetime) -> Dataset:
    """What the product would learn the model from for this tenant, by its settings."""
    windows = Windows.from_settings(prepared.churn_windows) if prepared.churn_windows else None
    return build_dataset(
        prepared.warehouse, prepared.tenant_id, model, now, prepared.model_inputs, churn_windows=windows
    )


def moved(trained: Trained, split: Split, by_lot: bool = False) -> Drift:
    """What the drift check says of the rows the split keeps for judging, beside the older and the newer rows learnt
    from, or beside two halves of them by lot."""
    older, newer, learnt = split.fit.frame, split.calibrate.frame, split.learn.frame
    if by_lot:
        half = learnt["contact_id"].hash(seed=SEED) % 2 == 0
        older, newer = learnt.filter(half), learnt.filter(~half)
    periods = Periods(older, newer, split.test.frame)
    found = drift_of(trained.inputs, trained.probability, learnt["event_timestamp"][0], periods, periods)
    assert found is not None
    return found


def figures_of_sets(prepared: Mapping[str, Prepared]) -> tuple[list[Figure], list[dict[str, Any]]]:
    """The figures of CDNOW, Telco and the bank, and what a table has no room for."""
    bank = prepared[BANK.name]
    bank_settled = bank.last_event_at() + dt.timedelta(days=30)
    datasets = {
        CDNOW.name: dataset_of(prepared[CDNOW.name], "churn", CDNOW_SETTLED),
        TELCO.name: dataset_of(prepared[TELCO.name], "churn", TELCO_SETTLED),
        BANK.name: dataset_of(bank, "lead_scoring", bank_settled),
    }
    made, told = [], []
    for name, dataset in datasets.items():
        found = judge_folds(dataset, bank_settled, REPEATS.get(name, 1))
        made.append(figure(f"AUC {name}", found.auc, "AUC", at_least=GOALS[name]))
        made.append(figure(f"AUC {name}, beside quick boosting", found.auc, "AUC", found.reference_auc))
        made.append(figure(f"AUC {name}, beside the rule", found.auc, "AUC", found.rule_auc))
        told.append({"label": name, "model": dataset.model, "inputs": len(dataset.inputs), **vars(found)})
    drifted, notes = bank_drift(datasets[BANK.name], bank_settled)
    return made + drifted, [*told, notes]


def bank_drift(dataset: Dataset, now: dt.datetime) -> tuple[list[Figure], dict[str, Any]]:
    """The drift check on the bank's later calls, where it must fire, and on people drawn by lot, where it must not."""
    later, by_lot = split_by_time(dataset, BANK_TEST_SHARE), next(split_folds(dataset, SEED))
    trained, trained_by_lot = (train(split, seed=SEED, now=now) for split in (later, by_lot))
    found, quiet = moved(trained, later), moved(trained_by_lot, by_lot, by_lot=True)
    probabilities = trained.probability(later.test.matrix())
    auc = metrics.auc(later.test.labels(), probabilities)
    made = [
        figure("AUC bank_marketing, latest calls", auc, "AUC"),
        figure("AUC bank_marketing, latest calls, beside quick boosting", auc, "AUC", reference_auc(later)),
        figure("drift check on the latest calls", float(found.drifted), "fired", at_least=1),
        figure("inputs drifted in the latest calls", len(found.drifted_inputs), f"of {len(found.inputs)}"),
        figure("drift check on people by lot", float(quiet.drifted), "fired", at_most=0),
    ]
    notes = {
        "label": "bank_marketing, latest calls",
        "base_rates": [float(part.labels().mean()) for part in (later.fit, later.calibrate, later.test)],
        "moved": [asdict(one) for one in (found.score, *found.inputs[:8]) if one],
    }
    return made, notes
