"""How good a fitted model is on rows it never saw, beside what no model would cost."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from training import metrics
from training.datasets import Dataset, Split
from training.metrics import Decile, Interval
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
class Evaluation:
    """Figures of a model on the test part of a split, intervals by bootstrap over rows (95 %). `best_possible_auc` is
    known for simulated people only, `profit` where the tenant has stated its costs."""

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
    deciles: list[Decile]
    segments: list[Segment]
    profit: Profit | None
    labels: npt.NDArray[np.int8]
    probabilities: npt.NDArray[np.float64]

    def figures(self) -> dict[str, float]:
        """Name to number, as MLflow logs them."""
        named = {
            "test_rows": float(self.rows),
            "test_positives": float(self.positives),
            "auc": self.auc.value,
            "auc_lower": self.auc.lower,
            "auc_upper": self.auc.upper,
            "average_precision": self.average_precision.value,
            "average_precision_lower": self.average_precision.lower,
            "average_precision_upper": self.average_precision.upper,
            "brier": self.brier.value,
            "brier_lower": self.brier.lower,
            "brier_upper": self.brier.upper,
            "calibration_error": self.calibration_error.value,
            "calibration_error_upper": self.calibration_error.upper,
            "base_rate": self.base_rate,
            "base_rate_brier": self.base_rate_brier,
            "rule_auc": self.rule_auc,
            "gain_over_rule": self.gain_over_rule.value,
            "gain_over_rule_lower": self.gain_over_rule.lower,
            "top_decile_lift": self.deciles[0].lift,
        }
        if self.best_possible_auc is not None:
            named["best_possible_auc"] = self.best_possible_auc
            named["auc_share_of_best"] = (self.auc.value - 0.5) / (self.best_possible_auc - 0.5)
        for segment in self.segments:
            if not np.isnan(segment.auc.value):
                named[f"auc_{segment.name}"] = segment.auc.value
        if self.profit is not None:
            named["profit_cents_per_1000"] = self.profit.chosen.value
            named["profit_cents_per_1000_of_everyone"] = self.profit.everyone
        return named


def evaluate(
    trained: Trained, split: Split, *, seed: int, truth: pl.DataFrame | None = None, costs: Costs | None = None
) -> Evaluation:
    """The model on `split.test`.

    `truth` (simulated people only) holds the probability each outcome was drawn with, in a column `probability`, keyed
    by any of message_id, provider_id, campaign_id, contact_id, event_timestamp that the test rows have too. A perfect
    model of the same rows would reach `best_possible_auc`.
    """
    test = split.test
    labels = test.labels()
    probabilities = trained.probability(test.matrix())
    rule = model_named(trained.model).score_by_rule(test.frame)
    rate = float(labels.mean())
    return Evaluation(
        model=trained.model,
        split=split.kind,
        rows=len(labels),
        positives=int(labels.sum()),
        auc=metrics.interval(metrics.auc, labels, probabilities, seed),
        average_precision=metrics.interval(metrics.average_precision, labels, probabilities, seed),
        brier=metrics.interval(metrics.brier, labels, probabilities, seed),
        calibration_error=metrics.interval(metrics.calibration_error, labels, probabilities, seed),
        base_rate=rate,
        base_rate_brier=metrics.brier(labels, np.full(len(labels), trained.base_rate)),
        rule_auc=metrics.auc(labels, rule),
        gain_over_rule=metrics.auc_gain_interval(labels, probabilities, rule, seed),
        best_possible_auc=None if truth is None else best_possible_auc(test, truth),
        deciles=metrics.deciles(labels, probabilities),
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
        auc = metrics.interval(metrics.auc, y, p, seed) if 0 < y.sum() < len(y) else Interval(*[float("nan")] * 3)
        found.append(Segment(name, len(y), int(y.sum()), auc, metrics.calibration_error(y, p)))
    return found


def _profit(costs: Costs, labels: npt.NDArray[np.int8], probabilities: npt.NDArray[np.float64], seed: int) -> Profit:
    def earned(y: npt.NDArray[np.float64], p: npt.NDArray[np.float64]) -> float:
        return 1000 * metrics.expected_profit(p, costs.outcome_cents, costs.message_cents, y) / len(y)

    everyone = 1000 * (float(labels.mean()) * costs.outcome_cents - costs.message_cents)
    return Profit(metrics.interval(earned, labels, probabilities, seed), everyone, costs)


def best_possible_auc(test: Dataset, truth: pl.DataFrame) -> float | None:
    """AUC of the probabilities the outcomes were drawn with, over the same rows; None when fewer than 95% are known.

    Raises ValueError when `truth` shares no key with the rows.
    """
    keys = [key for key in TRUTH_KEYS if key in truth.columns and key in test.frame.columns]
    if not keys:
        raise ValueError(f"truth has none of the keys {TRUTH_KEYS}")
    known = test.frame.join(
        truth.select(*keys, "probability").unique(subset=keys), on=keys, how="left", maintain_order="left"
    )["probability"]
    rows = known.is_not_null().to_numpy()
    if rows.mean() < 0.95:
        return None
    return metrics.auc(test.labels()[rows], known.drop_nulls().to_numpy())
