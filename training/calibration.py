"""Probabilities that mean what they say: a monotone table from raw to calibrated, learnt on later rows.

A table rather than a wrapped estimator, because it travels in the bundle's manifest and is applied in every language by
linear interpolation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class CalibrationTable:
    """Points of a non-decreasing function on [0, 1]; between points linear, outside constant."""

    x: tuple[float, ...]
    y: tuple[float, ...]

    def apply(self, raw: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Calibrated probabilities, one per raw one."""
        return np.interp(np.asarray(raw, dtype=np.float64), self.x, self.y)

    def to_json(self) -> dict[str, list[float]]:
        return {"x": list(self.x), "y": list(self.y)}


def fit_calibration(labels: npt.ArrayLike, raw: npt.ArrayLike, steps: int = 20) -> CalibrationTable:
    """The isotonic regression of label on raw probability over about `steps` groups of equally many rows.

    Isotonic regression of single rows is a staircase that ties thousands of people and hurts ranking; of group means it
    is a rising line. Groups that tie are joined by a small slope, so the order of raw probabilities is never lost.
    """
    from sklearn.isotonic import IsotonicRegression

    y, p = np.asarray(labels, dtype=np.float64), np.asarray(raw, dtype=np.float64)
    groups = [group for group in np.array_split(np.argsort(p, kind="stable"), min(steps, len(p))) if len(group)]
    x = np.array([p[group].mean() for group in groups])
    # Half a success and half a failure in each group: a group of none out of fifty is rare, not impossible.
    rate = np.array([(y[group].sum() + 0.5) / (len(group) + 1) for group in groups])
    weight = np.array([len(group) for group in groups], dtype=np.float64)
    fitted = IsotonicRegression(y_min=0.0, y_max=1.0).fit_transform(x, rate, sample_weight=weight)
    x, first = np.unique(x, return_index=True)
    fitted = fitted[first]
    xs = np.r_[0.0, x, 1.0] if x[0] > 0.0 and x[-1] < 1.0 else x
    ys = np.r_[min(fitted[0], x[0]), fitted, max(fitted[-1], x[-1])] if len(xs) > len(x) else fitted
    slope = 1e-4
    return CalibrationTable(
        tuple(float(value) for value in xs),
        tuple(float(value) for value in np.clip(ys * (1 - slope) + slope * xs, 0.0, 1.0)),
    )
