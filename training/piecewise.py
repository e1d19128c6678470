"""Piecewise-linear terms and crossings: what lets a logistic regression bend and see who answers to what.

Each column becomes a few segments that fill from 0 to 1 between its quantiles, a flag for a missing value, and a rank
in [-0.5, 0.5] that is crossed with the ranks of chosen columns; of very many crossings those that vary most are kept.
All of it is clip, multiply and add, so the exported graph has a dozen nodes and scores a hundred candidate hours of one
contact in microseconds.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, TransformerMixin

Matrix = npt.NDArray[np.float32]

# Deviation of ranks: two columns below it, both of something seldom, have a product whose differences float32 loses.
LEAST_SPREAD = 1e-3
# Four attributes of thirty categories would make 12,000 crossings: 13 GB for 75,000 rows.
MOST_CROSSINGS = 2_000


class PiecewiseTerms(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """(n, k) float32 with NaN for missing -> (n, segments + k + crossings) float32 without NaN."""

    def __init__(self, segments: int = 8, crossed: tuple[int, ...] = ()) -> None:
        self.segments = segments
        self.crossed = crossed

    def fit(self, X: Matrix, y: Any = None) -> PiecewiseTerms:
        columns, starts, widths, shares = [], [], [], []
        lowest = np.zeros(X.shape[1], dtype=np.float32)
        for column in range(X.shape[1]):
            known = X[~np.isnan(X[:, column]), column]
            if not len(known):
                continue
            knots = np.unique(np.quantile(known, np.linspace(0, 1, self.segments + 1)).astype(np.float32))
            lowest[column] = knots[0]
            for start, end in itertools.pairwise(knots):
                columns.append(column)
                starts.append(start)
                widths.append(end - start)
                shares.append(np.mean((known > start) & (known <= end)))
        self.lowest_ = lowest
        self.columns_ = np.array(columns, dtype=np.int64)
        self.starts_ = np.array(starts, dtype=np.float32)
        self.scales_ = (1.0 / np.array(widths, dtype=np.float64)).astype(np.float32)
        self.ranks_ = np.zeros((len(columns), X.shape[1]), dtype=np.float32)
        self.ranks_[np.arange(len(columns)), self.columns_] = shares
        self.pairs_ = self._crossings(X)
        return self

    def _crossings(self, X: Matrix) -> npt.NDArray[np.int64]:
        """The pairs of columns whose ranks are multiplied, (m, 2): at most MOST_CROSSINGS, those that vary most."""
        varying, spread = set(self.columns_.tolist()), self._spread(X)
        pairs = {
            (min(a, b), max(a, b))
            for a in self.crossed
            for b in range(X.shape[1])
            if a != b and a in varying and b in varying and max(spread[a], spread[b]) >= LEAST_SPREAD
        }
        most = sorted(pairs, key=lambda pair: (-spread[pair[0]] * spread[pair[1]], pair))[:MOST_CROSSINGS]
        return np.array(sorted(most), dtype=np.int64).reshape(-1, 2)

    def _spread(self, X: Matrix) -> npt.NDArray[np.float64]:
        """About the deviation of each column's rank, (k,), as if every value was the end of its segment."""
        found = np.zeros(X.shape[1])
        for column in range(X.shape[1]):
            shares = self.ranks_[self.columns_ == column, column].astype(np.float64)
            known = 1 - float(np.isnan(X[:, column]).mean())
            weights = known * np.r_[1 - shares.sum(), shares]
            ranks = np.r_[0.0, np.cumsum(shares)] - 0.5
            found[column] = np.sqrt(max(weights @ ranks**2 - (weights @ ranks) ** 2, 0.0))
        return found

    def transform(self, X: Matrix) -> Matrix:
        missing = np.isnan(X)
        filled = np.where(missing, self.lowest_, X).astype(np.float32)
        # Several times as wide as X, so nothing of it is copied that can be worked on in place.
        segments = filled.take(self.columns_, axis=1)
        segments -= self.starts_
        segments *= self.scales_
        np.clip(segments, 0.0, 1.0, out=segments)
        absent = missing.astype(np.float32)
        rank = (segments @ self.ranks_ - np.float32(0.5)) * (1 - absent)
        crossings = rank.take(self.pairs_[:, 0], axis=1)
        crossings *= rank.take(self.pairs_[:, 1], axis=1)
        return np.hstack([segments, absent, crossings], dtype=np.float32)
