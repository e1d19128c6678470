"""How far a contact's own probability may lie from the one it was told: an interval for every probability, learnt
from two outcomes after one look.

A calibrated 0.3 is the mean of people some of whom have silently left and some of whom are keen. Nobody sees their own
probabilities, but two later outcomes of one person share theirs: among people of one score, the covariance of the first
outcome with a second one is the variance of their own probabilities.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

LEVEL = 0.9
# People are a mixture (some have left for good), a beta of the same variance is broader: of simulated people this much
# of it holds the own probability of 87 to 93 %, of people who only differ 85 %.
MASS = 0.865
# By score, of equally many pairs. Fewer would hide that scores differ in it, more would be noise.
GROUPS = 5
# Of either outcome, for all groups: below, a dozen people who did both times decide.
MIN_RARE = 500
AT = 101


@dataclass(frozen=True)
class IntervalTable:
    """Ends of the interval by calibrated probability (`at`, ascending); linear between the points."""

    at: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    level: float = LEVEL

    def apply(self, probability: npt.ArrayLike) -> tuple[Floats, Floats]:
        """Low and high ends, one per probability."""
        p = np.asarray(probability, dtype=np.float64)
        return np.interp(p, self.at, self.low), np.interp(p, self.at, self.high)

    def to_json(self) -> dict[str, float | list[float]]:
        return {"level": self.level, "at": list(self.at), "low": list(self.low), "high": list(self.high)}


def fit_intervals(probabilities: npt.ArrayLike, labels: npt.ArrayLike, later: npt.ArrayLike) -> IntervalTable | None:
    """The table, of rows the probabilities were not fitted on; `later` is the second outcome, NaN where there is none.

    None where fewer than MIN_RARE of the rows that have both outcomes are positive, or negative: no interval is better
    than a made-up one.
    """
    p, first, second = (np.asarray(given, dtype=np.float64) for given in (probabilities, labels, later))
    paired = np.isfinite(second)
    p, first, second = p[paired], first[paired], second[paired]
    if min(_rarest(first), _rarest(second)) < MIN_RARE:
        return None
    groups = np.array_split(np.argsort(p, kind="stable"), GROUPS)
    centres = [float(p[group].mean()) for group in groups]
    shares = [_shared(first[group], second[group]) for group in groups]
    at = np.quantile(p, np.linspace(0, 1, AT))
    at = np.unique(np.r_[0.0, np.clip(at, 1e-4, 1 - 1e-4), 1.0])
    low, high = _shortest(at, np.interp(at, centres, shares))
    # A score lies within its interval, and neither end falls while the score rises.
    low, high = np.maximum.accumulate(np.minimum(low, at)), np.minimum.accumulate(np.maximum(high, at)[::-1])[::-1]
    return IntervalTable(tuple(map(float, at)), tuple(map(float, low)), tuple(map(float, high)))


def _rarest(outcome: Floats) -> float:
    return float(min(outcome.sum(), len(outcome) - outcome.sum()))


def _shared(first: Floats, second: Floats) -> float:
    """The variance of own probabilities as a share of p(1-p), with what chance in the group's rate adds to it."""
    spread = np.sqrt(first.var() * second.var())
    shared = np.mean((first - first.mean()) * (second - second.mean())) / spread if spread > 0 else 0.0
    return float(np.clip(max(shared, 0.0) + 1 / len(first), 0.005, 0.97))


def _shortest(mean: Floats, share: Floats) -> tuple[Floats, Floats]:
    """The shortest intervals that hold MASS of beta distributions with these means and variances share * p(1-p)."""
    from scipy.stats import beta

    inner = np.clip(mean, 1e-4, 1 - 1e-4)
    concentration = 1 / share - 1
    a, b = inner * concentration, (1 - inner) * concentration
    below = np.linspace(0, 1 - MASS, 25)[:, None]
    low, high = beta.ppf(below, a, b), beta.ppf(np.minimum(below + MASS, 1.0), a, b)
    best, column = np.argmin(high - low, axis=0), np.arange(len(inner))
    return low[best, column], high[best, column]
