"""Figures of merit as plain functions of arrays. Labels are 0/1, probabilities lie in [0, 1], one of each per row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
# A figure of given rows, by how often each of them counts, (n,). That of rows drawn with replacement needs no rows.
Counted = Callable[[Floats], float]


@dataclass(frozen=True)
class Interval:
    """An estimate with its lower and upper bound."""

    value: float
    lower: float
    upper: float


@dataclass(frozen=True)
class Decile:
    """A tenth of the rows; decile 1 holds the highest scores. `lift` is its rate over the overall rate, `gain` the
    share of all positives found in it and the deciles above it."""

    decile: int
    rows: int
    positives: int
    rate: float
    mean_probability: float
    lift: float
    gain: float


def auc(labels: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """The chance that a positive row scores above a negative one, ties counting half. NaN when a class is absent."""
    return _once(auc_counted(labels, scores), labels)


def auc_counted(labels: npt.ArrayLike, scores: npt.ArrayLike) -> Counted:
    y, order, starts = _ascending(labels, scores)

    def counted(counts: Floats) -> float:
        ordered = counts[order]
        positives = np.add.reduceat(ordered * y, starts)
        negatives = np.add.reduceat(ordered, starts) - positives
        pairs = float(positives.sum()) * float(negatives.sum())
        if pairs == 0:
            return float("nan")
        return float(positives @ (np.cumsum(negatives) - negatives / 2)) / pairs

    return counted


def claimed_auc(probabilities: npt.ArrayLike) -> float:
    """The AUC to be expected of outcomes drawn with exactly these probabilities, ties counting half; 0.5 where they
    leave nothing to chance."""
    p = np.sort(np.asarray(probabilities, dtype=np.float64))
    starts = np.flatnonzero(np.r_[True, p[1:] != p[:-1]])
    ones, zeros = np.add.reduceat(p, starts), np.add.reduceat(1 - p, starts)
    # A row is never compared with itself.
    itself = float(p @ (1 - p))
    pairs = float(ones.sum()) * float(zeros.sum()) - itself
    if pairs <= 0:
        return 0.5
    return (float(ones @ (np.cumsum(zeros) - zeros / 2)) - itself / 2) / pairs


def average_precision(labels: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """The mean of precision at each positive found, rows of equal score counted together. The base rate is chance."""
    return _once(average_precision_counted(labels, scores), labels)


def average_precision_counted(labels: npt.ArrayLike, scores: npt.ArrayLike) -> Counted:
    y, order, starts = _ascending(labels, scores)

    def counted(counts: Floats) -> float:
        ordered = counts[order]
        positives = np.add.reduceat(ordered * y, starts)[::-1]
        found, seen = np.cumsum(positives), np.cumsum(np.add.reduceat(ordered, starts)[::-1])
        if found[-1] == 0:
            return float("nan")
        return float(positives @ (found / np.maximum(seen, 1)) / found[-1])

    return counted


def brier(labels: npt.ArrayLike, probabilities: npt.ArrayLike) -> float:
    """The mean squared distance of probability and outcome. Lower is better; p(1-p) is what the base rate scores."""
    return _once(brier_counted(labels, probabilities), labels)


def brier_counted(labels: npt.ArrayLike, probabilities: npt.ArrayLike) -> Counted:
    y, p = np.asarray(labels, dtype=np.float64), np.asarray(probabilities, dtype=np.float64)
    return mean_counted((p - y) ** 2)


def mean_counted(values: Floats) -> Counted:
    return lambda counts: float(counts @ values / counts.sum())


def calibration_error(labels: npt.ArrayLike, probabilities: npt.ArrayLike, bins: int = 10) -> float:
    """The mean distance between promised and seen rate over `bins` groups of equally many rows. Lower is better."""
    return _once(calibration_error_counted(labels, probabilities, bins), labels)


def calibration_error_counted(labels: npt.ArrayLike, probabilities: npt.ArrayLike, bins: int = 10) -> Counted:
    y, order, _ = _ascending(labels, probabilities)
    beyond = np.asarray(probabilities, dtype=np.float64)[order] - y

    def counted(counts: Floats) -> float:
        ordered = counts[order]
        rows, excess = np.cumsum(ordered), np.cumsum(ordered * beyond)
        smaller, larger = divmod(int(rows[-1]), bins)
        ends = np.cumsum(np.repeat([smaller + 1, smaller], [larger, bins - larger]))
        # A row that counts several times may belong to two groups.
        last = np.searchsorted(rows, ends)
        group = np.diff(excess[last] - (rows[last] - ends) * beyond[last], prepend=0.0)
        return float(np.abs(group).sum() / rows[-1])

    return counted


def calibration_noise(probabilities: npt.ArrayLike, bins: int = 10) -> float:
    """The calibration error to be expected of outcomes drawn with exactly these probabilities: what chance alone gives
    so few rows. The mean of |x| of a normal x is its deviation times sqrt(2/pi)."""
    p = np.asarray(probabilities, dtype=np.float64)
    groups = np.array_split(np.sort(p), min(bins, len(p)))
    return float(sum(np.sqrt(2 / np.pi * (g * (1 - g)).mean() / len(g)) * len(g) for g in groups) / len(p))


def deciles(labels: npt.ArrayLike, probabilities: npt.ArrayLike) -> list[Decile]:
    """Ten groups of equally many rows, best scores first."""
    y, p = np.asarray(labels, dtype=np.float64), np.asarray(probabilities, dtype=np.float64)
    overall, found = float(y.mean()), 0.0
    rows = []
    for number, group in enumerate(np.array_split(np.argsort(-p, kind="stable"), 10), start=1):
        rate = float(y[group].mean()) if len(group) else float("nan")
        found += float(y[group].sum())
        rows.append(
            Decile(
                decile=number,
                rows=len(group),
                positives=int(y[group].sum()),
                rate=rate,
                mean_probability=float(p[group].mean()) if len(group) else float("nan"),
                lift=rate / overall if overall > 0 else float("nan"),
                gain=found / float(y.sum()) if overall > 0 else float("nan"),
            )
        )
    return rows


def found_counted(labels: npt.ArrayLike, probabilities: npt.ArrayLike, groups: int = 10) -> Callable[[Floats], Floats]:
    """How many positives are among the best tenth of the rows, the best two tenths and so on, (groups,)."""
    y, order, _ = _ascending(labels, -np.asarray(probabilities, dtype=np.float64))

    def counted(counts: Floats) -> Floats:
        ordered = counts[order]
        rows, found = np.cumsum(ordered), np.cumsum(ordered * y)
        ends = rows[-1] * np.arange(1, groups + 1) / groups
        # Of a row that belongs to two groups, each has its part.
        last = np.searchsorted(rows, ends)
        return np.asarray(found[last] - (rows[last] - ends) * y[last])

    return counted


def difference_interval(successes_a: int, n_a: int, successes_b: int, n_b: int, level: float = 0.95) -> Interval:
    """Rate of a minus rate of b (treated minus held out) with Newcombe's hybrid score interval.

    Source: R. G. Newcombe (1998), Interval estimation for the difference between independent proportions, Statistics in
    Medicine 17, 873-890, method 10 (Wilson limits of each arm). Raises ValueError when an arm is empty.
    """
    if n_a <= 0 or n_b <= 0:
        raise ValueError("both arms need at least one member")
    a, b = wilson_interval(successes_a, n_a, level), wilson_interval(successes_b, n_b, level)
    difference = a.value - b.value
    return Interval(
        difference,
        difference - float(np.hypot(a.value - a.lower, b.upper - b.value)),
        difference + float(np.hypot(a.upper - a.value, b.value - b.lower)),
    )


def wilson_interval(successes: int, n: int, level: float = 0.95) -> Interval:
    """A rate with Wilson's score interval; sensible for 0 and for n successes."""
    if not 0 <= successes <= n or n == 0:
        raise ValueError(f"{successes} successes of {n}")
    z = NormalDist().inv_cdf((1 + level) / 2)
    rate = successes / n
    centre = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * float(np.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n)))
    return Interval(rate, max(0.0, centre - half), min(1.0, centre + half))


def expected_profit(
    probabilities: npt.ArrayLike, value_cents: float, cost_cents: float, labels: npt.ArrayLike | None = None
) -> float:
    """Cents earned by messaging exactly the rows whose expected value exceeds the cost of a message.

    Higher is better. With `labels` it is what that choice earned; without, what the probabilities promise.
    """
    p = np.asarray(probabilities, dtype=np.float64)
    chosen = p * value_cents > cost_cents
    outcome = p if labels is None else np.asarray(labels, dtype=np.float64)
    return float(outcome[chosen].sum() * value_cents - chosen.sum() * cost_cents)


def roc_points(labels: npt.ArrayLike, scores: npt.ArrayLike, points: int = 200) -> tuple[Floats, Floats]:
    """False and true positive rates along the threshold, from (0, 0) to (1, 1), thinned to about `points`."""
    y, s = np.asarray(labels, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    order = np.argsort(-s, kind="stable")
    last_of_tie = np.r_[np.flatnonzero(np.diff(s[order])), len(s) - 1]
    true = np.r_[0.0, np.cumsum(y[order])[last_of_tie] / y.sum()]
    false = np.r_[0.0, np.cumsum(1 - y[order])[last_of_tie] / (1 - y).sum()]
    keep = np.unique(np.linspace(0, len(true) - 1, min(points, len(true))).astype(int))
    return false[keep], true[keep]


def _once(figure: Counted, labels: npt.ArrayLike) -> float:
    return figure(np.ones(np.shape(labels)))


def _ascending(
    labels: npt.ArrayLike, scores: npt.ArrayLike
) -> tuple[Floats, npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Labels by ascending score, the rows in that order, and where each of the different scores begins."""
    y, s = np.asarray(labels, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    order = np.argsort(s, kind="stable")
    ordered = s[order]
    return y[order], order, np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
