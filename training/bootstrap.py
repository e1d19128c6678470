"""Intervals by percentile bootstrap over rows: what a figure would be, had chance sent other rows.

Rows drawn again are rows that count twice, so no resample is gathered or sorted: figures are functions of how often
each row counts (training.metrics.Counted), and all that are asked for look at the same draws.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from training.metrics import Counted, Interval, auc_counted

RESAMPLES = 200
LEVEL = 0.95


def intervals(figures: Mapping[str, Counted], rows: int, seed: int) -> dict[str, Interval]:
    """Each figure of `rows` rows with its 95 % interval, by name. A figure that is NaN for some draws has that of the
    others."""
    rng, drawn = np.random.default_rng(seed), np.empty((RESAMPLES, len(figures)))
    for resample in drawn:
        counts = np.bincount(rng.integers(0, rows, rows), minlength=rows).astype(np.float64)
        resample[:] = [figure(counts) for figure in figures.values()]
    lower, upper = np.nanquantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    once = np.ones(rows)
    return {
        name: Interval(figure(once), float(lower[position]), float(upper[position]))
        for position, (name, figure) in enumerate(figures.items())
    }


def interval(figure: Counted, rows: int, seed: int) -> Interval:
    """`intervals` of one figure."""
    return intervals({"figure": figure}, rows, seed)["figure"]


def auc_gain(labels: npt.ArrayLike, challenger: npt.ArrayLike, champion: npt.ArrayLike) -> Counted:
    """AUC of the challenger minus the champion's, both on the same rows."""
    new, old = auc_counted(labels, challenger), auc_counted(labels, champion)
    return lambda counts: new(counts) - old(counts)


def auc_gain_interval(labels: npt.ArrayLike, challenger: npt.ArrayLike, champion: npt.ArrayLike, seed: int) -> Interval:
    """`auc_gain` with its interval."""
    return interval(auc_gain(labels, challenger, champion), len(np.asarray(labels)), seed)
