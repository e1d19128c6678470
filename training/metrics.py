"""Figures of merit as plain functions of arrays. Labels are 0/1, probabilities lie in [0, 1], one of each per row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Figure = Callable[[npt.NDArray[np.int64]], float]
Merit = Callable[[Floats, Floats], float]


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


def _mean_ranks(scores: Floats) -> Floats:
    order = np.argsort(scores, kind="stable")
    ordered = scores[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    ends = np.r_[starts[1:], len(ordered)]
    ranks = np.empty(len(scores), dtype=np.float64)
    ranks[order] = np.repeat((starts + ends + 1) / 2, ends - starts)
    return ranks


def auc(labels: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """The chance that a positive row scores above a negative one, ties counting half. NaN when a class is absent."""
    y, s = np.asarray(labels, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    positives = float(y.sum())
    negatives = len(y) - positives
    if positives == 0 or negatives == 0:
        return float("nan")
    return float((_mean_ranks(s)[y == 1].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def average_precision(labels: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """The mean of precision at each positive found, rows of equal score counted together. The base rate is chance."""
    y, s = np.asarray(labels, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    if y.sum() == 0:
        return float("nan")
    order = np.argsort(-s, kind="stable")
    last_of_tie = np.r_[np.flatnonzero(np.diff(s[order])), len(s) - 1]
    found = np.cumsum(y[order])[last_of_tie]
    precision = found / (last_of_tie + 1)
    return float((np.diff(np.r_[0.0, found]) * precision).sum() / y.sum())


def brier(labels: npt.ArrayLike, probabilities: npt.ArrayLike) -> float:
    """The mean squared distance of probability and outcome. Lower is better; p(1-p) is what the base rate scores."""
    y, p = np.asarray(labels, dtype=np.float64), np.asarray(probabilities, dtype=np.float64)
    return float(np.mean((p - y) ** 2))


def calibration_error(labels: npt.ArrayLike, probabilities: npt.ArrayLike, bins: int = 10) -> float:
    """The mean distance between promised and seen rate over `bins` groups of equally many rows. Lower is better."""
    y, p = np.asarray(labels, dtype=np.float64), np.asarray(probabilities, dtype=np.float64)
    groups = np.array_split(np.argsort(p, kind="stable"), min(bins, len(p)))
    return float(sum(abs(p[group].mean() - y[group].mean()) * len(group) for group in groups) / len(p))


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


def interval(
    figure: Merit, labels: npt.ArrayLike, scores: npt.ArrayLike, seed: int, resamples: int = 200, level: float = 0.95
) -> Interval:
    """A figure of labels and scores with its percentile-bootstrap interval over rows."""
    y, s = np.asarray(labels, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    drawn = _resampled(s, seed, resamples, lambda rows: figure(y[rows], s[rows]))
    return Interval(figure(y, s), *_percentiles(drawn, level))


def auc_gain_interval(
    labels: npt.ArrayLike,
    challenger: npt.ArrayLike,
    champion: npt.ArrayLike,
    seed: int,
    resamples: int = 200,
    level: float = 0.95,
) -> Interval:
    """AUC of the challenger minus the champion's on the same rows, each resample drawing the same rows for both."""
    y = np.asarray(labels, dtype=np.float64)
    a, b = np.asarray(challenger, dtype=np.float64), np.asarray(champion, dtype=np.float64)
    drawn = _resampled(a, seed, resamples, lambda rows: auc(y[rows], a[rows]) - auc(y[rows], b[rows]))
    return Interval(auc(y, a) - auc(y, b), *_percentiles(drawn, level))


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


def _percentiles(drawn: Floats, level: float) -> tuple[float, float]:
    lower, upper = np.nanquantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return float(lower), float(upper)


def _resampled(scores: Floats, seed: int, resamples: int, figure: Figure) -> Floats:
    """The figure of each resample's rows, which come ascending by score: sorting what is sorted costs next to nothing,
    and sorting is most of what a figure of scores does."""
    rng, count = np.random.default_rng(seed), len(scores)
    order = np.argsort(scores, kind="stable")

    def drawn() -> npt.NDArray[np.int64]:
        times = np.bincount(rng.integers(0, count, count), minlength=count)
        return np.repeat(order, times[order])

    return np.array([figure(drawn()) for _ in range(resamples)])
