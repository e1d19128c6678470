"""How good a fitted model is on rows it never saw, beside what no model would cost."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from training import bootstrap, metrics
from training.bootstrap import JudgedDecile
from training.datasets import Dataset, Split
from training.metrics import Interval
from training.models import model_named
from training.train import Trained

# Of a contact known for less, most windows of its features are still filling.
NEW_DAYS = 30
TRUTH_KEYS = ("message_id", "provider_id", "campaign_id", "contact_id", "event_timestamp")


@dataclass(frozen=True)
class Costs:
    """What a message costs and a positive outcome earns a tenant, in cents of its currency."""

    message_cents: float
    outcome_cents: float


@dataclass(frozen=True)
class Profit:
    """Cents a thousand rows would have earned: `chosen` messages those whose expected value exceeds the message's cost,
    `everyone` messages all."""

    chosen: Interval
    everyone: float
    costs: Costs


@dataclass(frozen=True)
class Segment:
    """How good the model is for some of the people. `auc` is NaN where one class is absent."""

    name: str
    rows: int
    positives: int
    auc: Interval
    calibration_error: float


@dataclass(frozen=True)
class Coverage:
    """Intervals beside the truth: the share of rows whose own probability lies inside (`level` was promised), and how
    wide they are on average."""

    share: float
    width: float
    level: float


@dataclass(frozen=True)
class Evaluation:
    """Figures of a model on the test part of a split, intervals by bootstrap over rows (95 %).

    Known for simulated people only: `best_possible_auc`, what somebody who knew everything that can be known of each
    person would reach; `hidden_state_auc`, the same knowing who has silently left too; `coverage` of the contacts'
    intervals. `profit` where the tenant has stated its costs."""

    model: str
    split: str
    rows: int
    positives: int
    auc: Interval
    average_precision: Interval
    brier: Interval
    calibration_error: Interval
    base_rate: float
    base_rate_brier: float
    rule_auc: float
    gain_over_rule: Interval
    best_possible_auc: float | None
    hidden_state_auc: float | None
    coverage: Coverage | None
    deciles: list[JudgedDecile]
    segments: list[Segment]
    profit: Profit | None
    labels: npt.NDArray[np.int8]
    probabilities: npt.NDArray[np.float64]

    def figures(self) -> dict[str, float]:
        """Name to number, as MLflow logs them. `claimed_auc` is what the probabilities themselves lead to expect."""
        named = {
            "test_rows": float(self.rows),
            "test_positives": float(self.positives),
            "auc": self.auc.value,
            "auc_lower": self.auc.lower,
            "auc_upper": self.auc.upper,
            "claimed_auc": metrics.claimed_auc(self.probabilities),
            "average_precision": self.average_precision.value,
            "average_precision_lower": self.average_precision.lower,
            "average_precision_upper": self.average_precision.upper,
            "brier": self.brier.value,
            "brier_lower": self.brier.lower,
            "brier_upper": self.brier.upper,
            "calibration_error": self.calibration_error.value,
            "calibration_error_lower": self.calibration_error.lower,
            "calibration_error_upper": self.calibration_error.upper,
            "base_rate": self.base_rate,
            "base_rate_brier": self.base_rate_brier,
            "rule_auc": self.rule_auc,
            "gain_over_rule": self.gain_over_rule.value,
            "gain_over_rule_lower": self.gain_over_rule.lower,
            "gain_over_rule_upper": self.gain_over_rule.upper,
            "top_decile_lift": self.deciles[0].lift,
            "top_decile_lift_lower": self.deciles[0].lift_lower,
            "top_decile_lift_upper": self.deciles[0].lift_upper,
        }
        if self.best_possible_auc is not None:
            named["best_possible_auc"] = self.best_possible_auc
            named["auc_share_of_best"] = (self.auc.value - 0.5) / (self.best_possible_auc - 0.5)
        if self.hidden_state_auc is not None:
            named["hidden_state_auc"] = self.hidden_state_auc
        if self.coverage is not None:
            named["interval_coverage"] = self.coverage.share
            named["interval_width"] = self.coverage.width
        for segment in self.segments:
            if not np.isnan(segment.auc.value):
                named[f"auc_{segment.name}"] = segment.auc.value
                named[f"auc_{segment.name}_lower"] = segment.auc.lower
                named[f"auc_{segment.name}_upper"] = segment.auc.upper
        if self.profit is not None:
            named["profit_cents_per_1000"] = self.profit.chosen.value
            named["profit_cents_per_1000_lower"] = self.profit.chosen.lower
            named["profit_cents_per_1000_upper"] = self.profit.chosen.upper
            named["profit_cents_per_1000_of_everyone"] = self.profit.everyone
        return named


def evaluate(
    trained: Trained, split: Split, *, seed: int, truth: pl.DataFrame | None = None, costs: Costs | None = None
) -> Evaluation:
    """The model on `split.test`.

    `truth` (simulated people only) holds the probability each outcome was drawn with, in a column `probability`, and in
    `observable` what of it could be known without seeing who has silently left (if it is not there: all of it). It is
    keyed by any of message_id, provider_id, campaign_id, contact_id, event_timestamp that the test rows have too.
    """
    test = split.test
    labels = test.labels()
    probabilities = trained.probability(test.matrix())
    rule = model_named(trained.model).score_by_rule(test.frame)
    own, observable = (None, None) if truth is None else true_probabilities(test, truth)
    rate = float(labels.mean())
    found = bootstrap.intervals(
        {
            "auc": metrics.auc_counted(labels, probabilities),
            "average_precision": metrics.average_precision_counted(labels, probabilities),
            "brier": metrics.brier_counted(labels, probabilities),
            "calibration_error": metrics.calibration_error_counted(labels, probabilities),
            "gain_over_rule": bootstrap.auc_gain(labels, probabilities, rule),
        },
        len(labels),
        seed,
    )
    return Evaluation(
        model=trained.model,
        split=split.kind,
        rows=len(labels),
        positives=int(labels.sum()),
        **found,
        base_rate=rate,
        base_rate_brier=metrics.brier(labels, np.full(len(labels), trained.base_rate)),
        rule_auc=metrics.auc(labels, rule),
        best_possible_auc=_auc_of_truth(labels, observable),
        hidden_state_auc=_auc_of_truth(labels, own),
        coverage=_coverage(trained, probabilities, own),
        deciles=bootstrap.judged_deciles(labels, probabilities, seed),
        segments=_segments(test, labels, probabilities, seed),
        profit=None if costs is None else _profit(costs, labels, probabilities, seed),
        labels=labels,
        probabilities=probabilities,
    )


def _segments(
    test: Dataset, labels: npt.NDArray[np.int8], probabilities: npt.NDArray[np.float64], seed: int
) -> list[Segment]:
    """New and old contacts, where the rows tell."""
    if "first_known_at" not in test.frame.columns:
        return []
    tenure = (test.frame["event_timestamp"] - test.frame["first_known_at"]).dt.total_days()
    found = []
    for name, rows in (("new_contacts", tenure < NEW_DAYS), ("old_contacts", tenure >= NEW_DAYS)):
        chosen = rows.fill_null(False).to_numpy()
        if not chosen.any():
            continue
        y, p = labels[chosen], probabilities[chosen]
        auc = Interval(*[float("nan")] * 3)
        if 0 < y.sum() < len(y):
            auc = bootstrap.interval(metrics.auc_counted(y, p), len(y), seed)
        found.append(Segment(name, len(y), int(y.sum()), auc, metrics.calibration_error(y, p)))
    return found


def _profit(costs: Costs, labels: npt.NDArray[np.int8], probabilities: npt.NDArray[np.float64], seed: int) -> Profit:
    earned = (
        1000
        * (probabilities * costs.outcome_cents > costs.message_cents)
        * (labels * costs.outcome_cents - costs.message_cents)
    )
    everyone = 1000 * (float(labels.mean()) * costs.outcome_cents - costs.message_cents)
    return Profit(bootstrap.interval(metrics.mean_counted(earned), len(labels), seed), everyone, costs)


def true_probabilities(
    test: Dataset, truth: pl.DataFrame
) -> tuple[npt.NDArray[np.float64] | None, npt.NDArray[np.float64] | None]:
    """`probability` and `observable` of `truth` by row of `test`, NaN where it has none; both None when fewer than 95%
    of the rows are known. Raises ValueError when `truth` shares no key with the rows."""
    keys = [key for key in TRUTH_KEYS if key in truth.columns and key in test.frame.columns]
    if not keys:
        raise ValueError(f"truth has none of the keys {TRUTH_KEYS}")
    if "observable" not in truth.columns:
        truth = truth.with_columns(pl.col("probability").alias("observable"))
    known = test.frame.select(keys).join(
        truth.select(*keys, "probability", "observable").unique(subset=keys),
        on=keys,
        how="left",
        maintain_order="left",
    )
    if known["probability"].null_count() > 0.05 * known.height:
        return None, None
    own, observable = (known[name].cast(pl.Float64).fill_null(float("nan")) for name in ("probability", "observable"))
    return own.to_numpy(), observable.to_numpy()


def _auc_of_truth(labels: npt.NDArray[np.int8], known: npt.NDArray[np.float64] | None) -> float | None:
    if known is None:
        return None
    rows = np.isfinite(known)
    return metrics.auc(labels[rows], known[rows])


def _coverage(
    trained: Trained, probabilities: npt.NDArray[np.float64], own: npt.NDArray[np.float64] | None
) -> Coverage | None:
    if own is None or trained.intervals is None:
        return None
    rows = np.isfinite(own)
    low, high = trained.intervals.apply(probabilities[rows])
    inside = (own[rows] >= low - 1e-9) & (own[rows] <= high + 1e-9)
    return Coverage(float(inside.mean()), float((high - low).mean()), trained.intervals.level)
