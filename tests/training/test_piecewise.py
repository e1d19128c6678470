"""Columns that are nearly always the same, and very many of them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from training.bundle import PARITY_LIMIT, onnx_session, run_onnx
from training.export import to_onnx
from training.piecewise import MOST_CROSSINGS, PiecewiseTerms


def categories(rows: int, count: int, each: int) -> npt.NDArray[np.float32]:
    """(rows, count) float32: every category is that of `each` rows and no other is."""
    matrix = np.zeros((rows, count), np.float32)
    for category in range(count):
        matrix[category * each : (category + 1) * each, category] = 1
    return matrix


class TestCrossings:
    def test_rare_categories_cost_the_exported_graph_no_precision(self) -> None:
        rng = np.random.default_rng(1)
        numbers = rng.normal(size=(2_000, 3)).astype(np.float32)
        matrix = np.hstack([numbers, categories(2_000, 30, each=2)])
        labels = (rng.random(2_000) < 1 / (1 + np.exp(-numbers[:, 0]))).astype(int)
        terms = PiecewiseTerms(crossed=tuple(range(3, 33)))
        pipeline = Pipeline([("terms", terms), ("scale", StandardScaler()), ("logistic", LogisticRegression(C=0.001))])
        pipeline.fit(matrix, labels)
        exported = run_onnx(onnx_session(to_onnx(pipeline, 33)), matrix)
        assert np.abs(exported - pipeline.predict_proba(matrix)[:, 1]).max() < PARITY_LIMIT
        # Each is crossed with the numbers, and with no other category.
        assert len(terms.pairs_) == 90

    def test_of_very_many_those_that_vary_most_are_kept(self) -> None:
        often, seldom = categories(2_000, 40, each=45), categories(2_000, 40, each=15)
        terms = PiecewiseTerms(crossed=tuple(range(80))).fit(np.hstack([seldom, often]))
        assert len(terms.pairs_) == MOST_CROSSINGS < 80 * 79 / 2
        kept = {tuple(pair) for pair in terms.pairs_.tolist()}
        assert {(a, b) for a in range(40, 80) for b in range(a + 1, 80)} <= kept

    def test_the_spread_is_about_the_deviation_of_the_ranks(self) -> None:
        rng = np.random.default_rng(2)
        matrix = np.stack([rng.normal(size=5_000), rng.random(5_000) < 0.3, rng.poisson(1.0, 5_000)], axis=1)
        matrix[:1_000, 2] = np.nan
        terms = PiecewiseTerms(crossed=(0,)).fit(matrix.astype(np.float32))
        ranks = terms.transform(matrix.astype(np.float32))[:, : len(terms.columns_)] @ terms.ranks_ - 0.5
        ranks[np.isnan(matrix)] = 0.0
        assert terms._spread(matrix.astype(np.float32)) == pytest.approx(ranks.std(axis=0), rel=0.1)
