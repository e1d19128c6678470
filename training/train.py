"""Fitting one model on one tenant's rows."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from training.calibration import CalibrationTable, fit_calibration
from training.datasets import Dataset, Split, require_labels
from training.errors import EmptySplit
from training.intervals import IntervalTable, fit_intervals
from training.models import model_named
from training.models.definition import Params

if TYPE_CHECKING:
    from feature_store.transforms import InputColumn

THREADS = 2
# Fits at a time: the one on everybody takes about as long as the two on half of them.
ABREAST = 2


@dataclass(frozen=True)
class Trained:
    """A fitted model with everything needed to judge and to publish it. `dataset_digest` names the rows it came
    from; `intervals` is None where too few contacts have two outcomes to learn them from."""

    model: str
    tenant_id: str
    estimator: Any
    inputs: Sequence[InputColumn]
    feature_service: str
    calibration: CalibrationTable
    intervals: IntervalTable | None
    base_rate: float
    params: Params
    seed: int
    rows: int
    dataset_digest: str
    trained_at: datetime
    seconds: float

    def raw(self, matrix: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Probabilities before calibration, (n,)."""
        return np.asarray(self.estimator.predict_proba(matrix)[:, 1], dtype=np.float64)

    def probability(self, matrix: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Calibrated probabilities, (n,)."""
        return self.calibration.apply(self.raw(matrix))


@contextmanager
def one_native_thread() -> Iterator[None]:
    """BLAS on one thread while fitting, and OpenMP where the caller's thread uses it. Their threads spin while they
    wait for each other: beside other busy processes on two cores a boosting of 1.5 s took 15 s. A forest's own threads
    do not spin, and stay."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):
        yield


def train(
    split: Split,
    params: Params | None = None,
    *,
    seed: int,
    now: datetime,
    threads: int = THREADS,
    min_labels_per_class: int = 50,
) -> Trained:
    """The split's model, fitted on all it may learn from.

    Calibration and intervals come from the same rows, each scored by a fit on the other half of the contacts: they are
    strangers to it, but their campaigns are not. A calibration on the latest campaigns alone would take what is odd
    about these few for what is odd about the model. `test` is not looked at. `params` override the model's own, name by
    name. Raises TooFewLabels when the part to fit is too thin, EmptySplit when one class is a single contact's.
    """
    started = time.perf_counter()
    chosen = model_named(split.fit.model)
    labels = split.fit.labels()
    positives = int(labels.sum())
    # The fit part is about half of what the dataset was required to hold.
    require_labels(chosen.name, positives, len(labels) - positives, min_labels_per_class // 2)
    merged = dict(chosen.params) | dict(params or {})
    matrix, labels, half = split.learn.matrix(), split.learn.labels(), halves(split.learn.frame)
    for one in (half, ~half):
        if not 0 < labels[one].sum() < one.sum():
            raise EmptySplit("strangers'", int(one.sum()), int(labels[one].sum()))
    abreast = min(threads, ABREAST)

    def fitted(rows: Any) -> Any:
        with one_native_thread():
            estimator = chosen.build_pipeline(merged, split.fit.inputs, seed, threads // abreast)
            return estimator.fit(matrix[rows], labels[rows], **_weighted(estimator, labels[rows], merged))

    with one_native_thread():
        with ThreadPoolExecutor(abreast) as pool:
            estimator, *strangers = pool.map(fitted, (slice(None), half, ~half))
        raw = np.empty(len(labels))
        for stranger, rows in zip(strangers, (~half, half), strict=True):
            raw[rows] = stranger.predict_proba(matrix[rows])[:, 1]
    calibration = fit_calibration(labels, raw)
    intervals = fit_intervals(calibration.apply(raw), labels, later_labels(split.learn))
    return Trained(
        model=chosen.name,
        tenant_id=split.fit.tenant_id,
        estimator=estimator,
        inputs=split.fit.inputs,
        feature_service=split.fit.feature_service,
        calibration=calibration,
        intervals=intervals,
        base_rate=float(labels.mean()),
        params=merged,
        seed=seed,
        rows=len(labels),
        dataset_digest=split.digest,
        trained_at=now,
        seconds=time.perf_counter() - started,
    )


def class_weights(labels: npt.NDArray[np.int8], balance: float) -> npt.NDArray[np.float64]:
    """A weight for each row, (n,), of mean 1: with `balance` 1 the rows of both classes weigh the same together, with 0
    every row weighs the same, between them so far along the way in logarithms."""
    counts = np.bincount(labels, minlength=2)
    weights = (counts.sum() / (2 * counts[labels])) ** balance
    return np.asarray(weights / weights.mean())


def _weighted(estimator: Any, labels: npt.NDArray[np.int8], params: Params) -> dict[str, Any]:
    if not params["class_weight"]:
        return {}
    # A pipeline hands arguments to the step they are named after.
    steps = getattr(estimator, "steps", None)
    named = f"{steps[-1][0]}__sample_weight" if steps else "sample_weight"
    return {named: class_weights(labels, params["class_weight"])}


def halves(frame: pl.DataFrame) -> npt.NDArray[np.bool_]:
    """Which half each row's contact is in, (n,): every other one by the count of its positive rows, so that both halves
    have some, and where two have as many by a hash."""
    contacts = frame.group_by("contact_id").agg(pl.col("label").sum())
    ranked = contacts.sort("label", pl.col("contact_id").hash(seed=0)).select("contact_id").with_row_index("rank")
    rank = frame.select("contact_id").join(ranked, on="contact_id", how="left", maintain_order="left")["rank"]
    return np.asarray((rank % 2 == 0).to_numpy(), dtype=np.bool_)


def later_labels(learn: Dataset) -> npt.NDArray[np.float64]:
    """Second outcomes, (n,), NaN where there is none or it was open when the newest label learnt from settled."""
    if "later_label" not in learn.frame.columns:
        return np.full(learn.frame.height, np.nan)
    settled = pl.col("later_known_at") <= pl.col("label_known_at").max()
    later = learn.frame.select(pl.when(settled).then(pl.col("later_label").cast(pl.Float64)).alias("later"))["later"]
    return np.asarray(later.fill_null(float("nan")).to_numpy(), dtype=np.float64)
