"""What is served is what was learnt: over 10,000 rows the API's two ways of asking give the fitted model's numbers."""

from __future__ import annotations

import datetime as dt
import uuid

import numpy as np
import pytest

from serving.prediction.bundles import load_bundle, percentile
from training.bundle import export_checked, make_manifest, write_bundle
from training.datasets import split_by_time
from training.score import percentile as offline_percentile
from training.synthetic import synthetic_dataset
from training.train import train

START = dt.datetime(2026, 1, 5, tzinfo=dt.UTC)
TENANT = uuid.UUID(int=7)
ROWS = 10_000
ALONE = 500
TOLERANCE = 1e-5


@pytest.fixture(scope="module", params=["lead_scoring", "churn", "engagement"])
def learnt(request, tmp_path_factory):
    """(the fitted model, its bundle as the API loads it, 10,000 rows, every seventh with unknown values)."""
    split = split_by_time(synthetic_dataset(request.param, 1_000, 8, seed=5, start=START)[0])
    trained = train(split, seed=5, now=START)
    graph, _ = export_checked(trained, split.test)
    manifest = make_manifest(trained, "1", split) | {"tenant_id": str(TENANT)}
    written = write_bundle(tmp_path_factory.mktemp("bundles"), graph, manifest, {})
    bundle = load_bundle(written.path, tenant_id=TENANT, model=request.param, digest=written.digest)
    chance = np.random.default_rng(5)
    seen = np.vstack([split.fit.matrix(), split.calibrate.matrix(), split.test.matrix()])
    rows = seen[chance.integers(0, len(seen), ROWS)]
    rows[::7, ::3] = np.nan
    return trained, bundle, rows


def test_a_batch_is_given_the_fitted_models_probabilities(learnt):
    trained, bundle, rows = learnt
    assert np.abs(bundle.judge(rows).probability - trained.probability(rows)).max() < TOLERANCE


def test_alone_a_row_is_given_the_same_as_among_others(learnt):
    trained, bundle, rows = learnt
    among = bundle.judge(rows).probability
    expected = trained.probability(rows)
    for position in range(0, ROWS, ROWS // ALONE):
        alone = bundle.judge(rows[position : position + 1]).probability[0]
        assert abs(alone - expected[position]) < TOLERANCE
        assert abs(alone - among[position]) < TOLERANCE


def test_tiers_and_scores_follow_the_probability(learnt):
    _, bundle, rows = learnt
    made = bundle.judge(rows)
    order = np.argsort(made.probability, kind="stable")
    assert (np.diff(made.score[order]) >= 0).all()
    assert made.score.min() >= 0
    assert made.score.max() <= 100


def test_people_all_alike_have_one_score_alone_among_others_and_offline(learnt):
    trained, bundle, rows = learnt
    for position in range(0, 100, 10):
        people = rows[:1_000].copy()
        people[: 50 + 4 * position] = rows[position]
        quantiles = np.quantile(trained.probability(people), np.linspace(0, 1, 101))
        alike = np.repeat(rows[position : position + 1], 100, axis=0)
        expected = percentile(trained.probability(alike), quantiles)
        assert percentile(bundle.probability(alike), quantiles) == pytest.approx(expected, abs=0.5)
        assert percentile(bundle.probability(alike[:1]), quantiles) == pytest.approx(expected[:1], abs=0.5)
        assert offline_percentile(bundle.probability(alike), list(quantiles)) == pytest.approx(expected, abs=0.5)
