"""What became of a champion's contacts after it had learnt: does it keep what its card promised?

Those whose outcomes are known were chosen: a campaign to the best fifth is sent to people who are hard to tell apart.
So an AUC is not held against that of the card, but against what the probabilities of these very people claim.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from training import bootstrap, metrics
from training.bundle import Bundle
from training.datasets import require_labels
from training.metrics import Interval
from training.models import model_named
from training.models.churn import Windows
from training.periods import PERIOD_DAYS

if TYPE_CHECKING:
    from feature_store.warehouse import Warehouse

MATURED_DAYS = 90
# Longer than any label takes to settle.
OPEN_LABELS = timedelta(days=400)
# Less AUC lost than this is no reason to train, however sure it is.
NOTICEABLE_AUC = 0.02


@dataclass(frozen=True)
class Performance:
    """A champion on labels that matured after it had learnt; intervals by bootstrap over rows (95 %). `promised` is
    the AUC its probabilities claim for these rows, and as much more or less as it did better or worse than claimed on
    those it was judged on. `broken` names in words each promise it does not keep."""

    rows: int
    positives: int
    auc: Interval
    promised: Interval
    calibration_error: Interval
    promised_calibration_error: float
    broken: list[str]


def performance(
    card: Mapping[str, Any],
    labels: npt.NDArray[np.int8],
    probabilities: npt.NDArray[np.float64],
    *,
    seed: int,
    min_labels_per_class: int = 50,
    max_calibration_error: float = 0.05,
) -> Performance:
    """How the champion with this card did on rows whose labels are settled by now and were open when it learnt. Raises
    TooFewLabels."""
    positives = int(labels.sum())
    require_labels(str(card["model"]), positives, len(labels) - positives, min_labels_per_class)
    figures = card["figures"]
    judged = Interval(figures["auc"], figures["auc_lower"], figures["auc_upper"])
    claimed = metrics.claimed_auc(probabilities)
    moved = claimed - figures.get("claimed_auc", judged.value)
    promised = Interval(judged.value + moved, judged.lower + moved, judged.upper + moved)
    found = bootstrap.intervals(
        {
            "auc": metrics.auc_counted(labels, probabilities),
            "calibration_error": metrics.calibration_error_counted(labels, probabilities),
        },
        len(labels),
        seed,
    )
    auc, error = found["auc"], found["calibration_error"]
    broken = []
    lost = promised.value - auc.value
    # Two independent estimates: their errors add as squares.
    if lost > max(NOTICEABLE_AUC, float(np.hypot(promised.value - promised.lower, auc.upper - auc.value))):
        broken.append(f"AUC {auc.value:.3f} ({auc.lower:.3f} to {auc.upper:.3f}), promised were {promised.value:.3f}")
    beyond_chance = error.value - metrics.calibration_noise(probabilities)
    if beyond_chance > max_calibration_error:
        broken.append(
            f"probabilities are off by {beyond_chance:.3f} more than chance, {max_calibration_error:g} is allowed"
        )
    return Performance(len(labels), positives, auc, promised, error, float(figures["calibration_error"]), broken)


def rows_since(
    warehouse: Warehouse, bundle: Bundle, now: datetime, max_rows: int, churn_windows: Windows | None = None
) -> pl.DataFrame:
    """The model's units that were not settled when the champion learnt, oldest first, with features as they were known
    at each. `label` is null while it is open. Reaches back MATURED_DAYS. `churn_windows` as the model was trained
    with."""
    from feature_store.feature_services import FEATURE_SERVICES
    from feature_store.retrieval import get_historical_features

    manifest = bundle.manifest
    chosen = model_named(str(manifest["model"]), churn_windows)
    # A spine of some later day has the rows whose labels are open today.
    spine = chosen.build_spine(warehouse, str(manifest["tenant_id"]), now + OPEN_LABELS, max_rows).frame
    at, settled = pl.col("event_timestamp"), pl.col("label_known_at")
    new = (at <= now) & (settled > bundle.trained_at) & (settled > now - timedelta(days=MATURED_DAYS))
    label = pl.when(settled <= now).then(pl.col("label"))
    rows: pl.DataFrame = spine.filter(new).with_columns(label=label)
    found: pl.DataFrame = get_historical_features(warehouse, rows, FEATURE_SERVICES[manifest["feature_service"]])
    return found


def recent(rows: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """Those of the last PERIOD_DAYS."""
    return rows.filter(pl.col("event_timestamp") > now - timedelta(days=PERIOD_DAYS))


def matured(rows: pl.DataFrame) -> pl.DataFrame:
    """Those whose label is settled."""
    return rows.drop_nulls("label")
