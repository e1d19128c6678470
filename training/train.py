"""Fitting one model on one tenant's rows."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from training.calibration import CalibrationTable, fit_calibration
from training.datasets import Split, require_labels
from training.models import model_named
from training.models.definition import Params

if TYPE_CHECKING:
    from feature_store.transforms import InputColumn

THREADS = 2


@dataclass(frozen=True)
class Trained:
    """A fitted model with everything needed to judge and to publish it. `dataset_digest` names the rows it came
    from."""

    model: str
    tenant_id: str
    estimator: Any
    inputs: Sequence[InputColumn]
    feature_service: str
    calibration: CalibrationTable
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
    """BLAS and OpenMP on one thread while fitting. Their threads spin while they wait for each other: beside other busy
    processes on two cores a boosting of 1.5 s took 15 s. A forest's own threads do not spin, and stay."""
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
    """The split's model: fitted on its `fit` part, calibrated on the later `calibrate` part, then fitted again on both.

    So what speaks knows the newest rows, and its calibration comes from rows it had not seen. `test` is not looked at.
    `params` override the model's own, name by name. Raises TooFewLabels when the part to fit is too thin.
    """
    started = time.perf_counter()
    chosen = model_named(split.fit.model)
    labels = split.fit.labels()
    positives = int(labels.sum())
    # The fit part is about half of what the dataset was required to hold.
    require_labels(chosen.name, positives, len(labels) - positives, min_labels_per_class // 2)
    merged = dict(chosen.params) | dict(params or {})
    with one_native_thread():
        earlier = chosen.build_pipeline(merged, split.fit.inputs, seed, threads)
        matrix = split.fit.matrix()
        earlier.fit(matrix, labels)
        later, later_labels = split.calibrate.matrix(), split.calibrate.labels()
        raw = np.asarray(earlier.predict_proba(later)[:, 1], dtype=np.float64)
        calibration = fit_calibration(later_labels, raw)
        matrix, labels = np.vstack([matrix, later]), np.concatenate([labels, later_labels])
        estimator = chosen.build_pipeline(merged, split.fit.inputs, seed, threads)
        estimator.fit(matrix, labels)
    return Trained(
        model=chosen.name,
        tenant_id=split.fit.tenant_id,
        estimator=estimator,
        inputs=split.fit.inputs,
        feature_service=split.fit.feature_service,
        calibration=calibration,
        base_rate=float(labels.mean()),
        params=merged,
        seed=seed,
        rows=len(labels),
        dataset_digest=split.digest,
        trained_at=now,
        seconds=time.perf_counter() - started,
    )
