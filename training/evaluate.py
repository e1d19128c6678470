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

TRUTH_KEYS = ("message_id", "provider_id", "campaign_id", "contact_id", "event_timestamp")


@dataclass(frozen=True)
class Evaluation:
    """Figures of a model on the test part of a split. `best_possible_auc` is known for simulated people only."""

    model: str
    split: str
    rows: int
    positives: int
    auc: Interval
    average_precision: float
    brier: float
    calibration_error: float
    base_rate: float
    base_rate_brier: float
    rule_auc: float
    gain_over_rule: Interval
    best_possible_auc: float | None
    deciles: list[Decile]
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
            "average_precision": self.average_precision,
            "brier": self.brier,
            "calibration_error": self.calibration_error,
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
        return named


def evaluate(trained: Trained, split: Split, *, seed: int, truth: pl.DataFrame | None = None) -> Evaluation:
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
        auc=metrics.auc_interval(labels, probabilities, seed),
        average_precision=metrics.average_precision(labels, probabilities),
        brier=metrics.brier(labels, probabilities),
        calibration_error=metrics.calibration_error(labels, probabilities),
        base_rate=rate,
        base_rate_brier=metrics.brier(labels, np.full(len(labels), trained.base_rate)),
        rule_auc=metrics.auc(labels, rule),
        gain_over_rule=metrics.auc_gain_interval(labels, probabilities, rule, seed),
        best_possible_auc=None if truth is None else best_possible_auc(test, truth),
        deciles=metrics.deciles(labels, probabilities),
        labels=labels,
        probabilities=probabilities,
    )


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
