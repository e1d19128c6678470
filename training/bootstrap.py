"""Intervals by percentile bootstrap over rows: what a figure would be, had chance sent other rows.

Rows drawn again are rows that count twice, so no resample is gathered or sorted: figures are functions of how often
each row counts (training.metrics.Counted), and all that are asked for look at the same draws.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.metrics import Counted, Decile, Floats, Interval, auc_counted, deciles, found_counted

RESAMPLES = 200
LEVEL = 0.95
ENDS = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)


@dataclass(frozen=True)
class JudgedDecile(Decile):
    """A decile with the ends of its figures' 95 % intervals."""

    rate_lower: float
    rate_upper: float
    lift_lower: float
    lift_upper: float
    gain_lower: float
    gain_upper: float


def intervals(figures: Mapping[str, Counted], rows: int, seed: int) -> dict[str, Interval]:
    """Each figure of `rows` rows with its 95 % interval, by name. A figure that is NaN for some draws has that of the
    others."""
    drawn = np.array([[figure(counts) for figure in figures.values()] for counts in _draws(rows, seed)])
    lower, upper = np.nanquantile(drawn, ENDS, axis=0)
    once = np.ones(rows)
    return {
        name: Interval(figure(once), float(lower[position]), float(upper[position]))
        for position, (name, figure) in enumerate(figures.items())
    }


def interval(figure: Counted, rows: int, seed: int) -> Interval:
    """`intervals` of one figure."""
    return intervals({"figure": figure}, rows, seed)["figure"]


def judged_deciles(labels: npt.ArrayLike, probabilities: npt.ArrayLike, seed: int) -> list[JudgedDecile]:
    """Ten groups of equally many rows, best scores first, with intervals."""
    rows, found = len(np.asarray(labels)), found_counted(labels, probabilities)
    drawn = np.array([found(counts) for counts in _draws(rows, seed)])
    gain = drawn / drawn[:, -1:]
    lift = np.diff(gain, axis=1, prepend=0.0) * gain.shape[1]
    rate = lift * drawn[:, -1:] / rows
    (rate_low, rate_high), (lift_low, lift_high), (gain_low, gain_high) = (
        np.quantile(resampled, ENDS, axis=0).tolist() for resampled in (rate, lift, gain)
    )
    return [
        JudgedDecile(
            **vars(one),
            rate_lower=rate_low[place],
            rate_upper=rate_high[place],
            lift_lower=lift_low[place],
            lift_upper=lift_high[place],
            gain_lower=gain_low[place],
            gain_upper=gain_high[place],
        )
        for place, one in enumerate(deciles(labels, probabilities))
    ]


def auc_gain(labels: npt.ArrayLike, challenger: npt.ArrayLike, champion: npt.ArrayLike) -> Counted:
    """AUC of the challenger minus the champion's, both on the same rows."""
    new, old = auc_counted(labels, challenger), auc_counted(labels, champion)
    return lambda counts: new(counts) - old(counts)


def auc_gain_interval(labels: npt.ArrayLike, challenger: npt.ArrayLike, champion: npt.ArrayLike, seed: int) -> Interval:
    """`auc_gain` with its interval."""
    return interval(auc_gain(labels, challenger, champion), len(np.asarray(labels)), seed)


def _draws(rows: int, seed: int) -> Iterator[Floats]:
    """How often each row counts in each resample, (rows,)."""
    rng = np.random.default_rng(seed)
    for _ in range(RESAMPLES):
        yield np.bincount(rng.integers(0, rows, rows), minlength=rows).astype(np.float64)
