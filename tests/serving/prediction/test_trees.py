"""Many rows at once get what ONNX Runtime gives them one after the other."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from xgboost import XGBClassifier

from serving.prediction.trees import MAX_DEPTH, boosted_trees
from training.export import to_onnx

COLUMNS = 7


def people(rows, seed):
    """Few distinct values, so that many lie on a threshold; some are missing."""
    chance = np.random.default_rng(seed)
    matrix = chance.integers(-4, 5, (rows, COLUMNS)).astype(np.float32) / 2
    matrix[chance.random(matrix.shape) < 0.15] = np.nan
    return matrix


def boosted(depth, seed=3, **parameters):
    matrix = people(3_000, seed)
    known = np.nan_to_num(matrix)
    labels = known[:, 0] * known[:, 1] + known[:, 2] + np.isnan(matrix[:, 3]) > 0.5
    model = XGBClassifier(n_estimators=25, max_depth=depth, random_state=seed, n_jobs=1, **parameters)
    return to_onnx(model.fit(matrix, labels), COLUMNS)


def walked(graph, matrix):
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    return session.run(["probabilities"], {"X": matrix})[0][:, 1]


@pytest.mark.parametrize("depth", range(1, MAX_DEPTH + 1))
def test_every_row_is_given_the_probability_of_the_graph(depth):
    graph = boosted(depth)
    trees = boosted_trees(graph)
    assert trees is not None
    assert trees.depth == depth
    # Numbers of rows that fill no byte, and more than are judged at a time.
    for rows in (1, 9, 2_500):
        matrix = people(rows, seed=rows)
        assert np.abs(trees.probability(matrix) - walked(graph, matrix)).max() < 1e-6


def test_trees_that_stop_early_and_thresholds_at_infinity_are_no_exception():
    graph = boosted(5, min_child_weight=60, gamma=2.0)
    trees = boosted_trees(graph)
    matrix = people(500, seed=1)
    matrix[::5, 2], matrix[1::5, 0] = np.inf, -np.inf
    assert trees is not None
    assert np.abs(trees.probability(matrix) - walked(graph, matrix)).max() < 1e-6


def test_trees_that_ask_for_nothing_are_laid_out_nowhere():
    graph = boosted(4, gamma=60.0)
    trees = boosted_trees(graph)
    assert trees is not None
    assert 0 < len(trees.asked[0][0]) < 25
    matrix = people(500, seed=1)
    assert np.abs(trees.probability(matrix) - walked(graph, matrix)).max() < 1e-6
    assert boosted_trees(boosted(4, gamma=1e6)) is None


def test_no_rows_have_no_probability():
    trees = boosted_trees(boosted(2))
    assert trees is not None
    assert trees.probability(np.empty((0, COLUMNS), np.float32)).shape == (0,)


def test_other_graphs_and_deeper_trees_are_left_to_the_session():
    assert boosted_trees(boosted(MAX_DEPTH + 1)) is None
    matrix = np.nan_to_num(people(300, seed=2))
    labels = matrix[:, 0] > 0
    forest = RandomForestClassifier(n_estimators=5, max_depth=3, random_state=0)
    pipeline = Pipeline([("scale", StandardScaler()), ("forest", forest)]).fit(matrix, labels)
    assert boosted_trees(to_onnx(pipeline, COLUMNS)) is None
