"""How far the values of a feature have moved from those a model learnt from, or from another day's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# An empty bin would make the index infinite; below a share of 1 in 10,000 nothing can be told apart.
LEAST_SHARE = 1e-4
# What credit scoring has long taken for a change worth a look, and for one worth an alarm.
NOTICEABLE, LARGE = 0.1, 0.25


@dataclass(frozen=True)
class Bins:
    """Where values lie: bin i holds `edges[i-1] < value <= edges[i]`, the first everything up to `edges[0]`, the last
    everything above. `shares` has one more entry than `edges` and, with `missing_share`, sums to 1."""

    edges: tuple[float, ...]
    shares: tuple[float, ...]
    missing_share: float


def fit_bins(values: NDArray[Any], bins: int = 10) -> Bins:
    """At most `bins` bins of about equal shares; one for each value where there are no more distinct ones than that.
    NaN is missing. Without any value there is one bin, of share 0. Raises ValueError for an empty array."""
    known, _ = _known(values)
    distinct = np.unique(known)
    if distinct.size <= bins:
        # Between two values, so that one a rounding away stays in its bin.
        edges = (distinct[:-1] + distinct[1:]) / 2
    else:
        edges = np.unique(np.quantile(known, np.arange(1, bins) / bins, method="inverted_cdf"))
        # Up to the greatest value there is nothing above to hold apart.
        edges = edges[edges < distinct[-1]]
    shares, missing = _shares(values, edges)
    return Bins(tuple(edges.tolist()), tuple(shares.tolist()), missing)


def population_stability(reference: Bins, values: NDArray[Any]) -> float:
    """The population stability index in nats: the sum over bins of (p - q) ln(p / q), missing being one of the bins and
    shares at least 1e-4. 0 for the same distribution; above 0.1 worth a look, above 0.25 large. Raises ValueError for
    an empty array."""
    shares, missing = _shares(values, np.array(reference.edges, np.float64))
    p = np.maximum(np.array([*reference.shares, reference.missing_share]), LEAST_SHARE)
    q = np.maximum(np.array([*shares, missing]), LEAST_SHARE)
    return float(np.sum((p - q) * np.log(p / q)))


def bin_shares(reference: Bins, values: NDArray[Any]) -> tuple[float, ...]:
    """The share of all values that lies in each bin; what they lack to 1 is missing. Raises ValueError for an empty
    array."""
    return tuple(_shares(values, np.array(reference.edges, np.float64))[0].tolist())


def _known(values: NDArray[Any]) -> tuple[NDArray[np.float64], float]:
    """The values that are there, and the share of those that are not."""
    if values.size == 0:
        raise ValueError("no value, so no share of any")
    numbers = values.astype(np.float64)
    missing = np.isnan(numbers)
    return numbers[~missing], float(missing.mean())


def _shares(values: NDArray[Any], edges: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    known, missing = _known(values)
    counts = np.bincount(np.searchsorted(edges, known, side="left"), minlength=edges.size + 1)
    shares: NDArray[np.float64] = counts / values.size
    return shares, missing
