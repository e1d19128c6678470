"""Serving reads what training writes, and both mean the same by it."""

from __future__ import annotations

import json
import uuid

import numpy as np
import pytest

from serving.prediction.bundles import bundle_digest, load_bundle, percentile
from training import bundle as training_bundle
from training import score as training_score


@pytest.fixture
def written(champions):
    """A bundle as a test writes it: (its manifest, its graph, its folder)."""
    folder = champions.promote(uuid.UUID(int=1), "lead_scoring", reference_campaign={"offer": "Café"})
    return json.loads((folder / "manifest.json").read_text()), (folder / "model.onnx").read_bytes(), folder


class TestContractWithTraining:
    def test_a_bundle_written_by_training_is_loaded(self, written, tmp_path):
        manifest, graph, _ = written
        bare = {name: value for name, value in manifest.items() if name != "digest"}
        made = training_bundle.write_bundle(tmp_path, graph, bare, card={})
        loaded = load_bundle(made.path, tenant_id=uuid.UUID(int=1), model="lead_scoring", digest=made.digest)
        assert (loaded.version, loaded.digest) == (made.version, made.digest)

    def test_the_digest_is_the_same(self, written):
        manifest, graph, folder = written
        assert bundle_digest(graph, manifest) == training_bundle.bundle_digest(graph, manifest) == folder.name

    def test_a_percentile_is_the_same_with_and_without_ties(self):
        chance = np.random.default_rng(7)
        quantiles = np.sort(np.r_[chance.random(60), np.repeat(0.3, 41)])
        probability = np.r_[chance.random(500), quantiles, 0.0, 0.3, 1.0]
        expected = training_score.percentile(probability, list(quantiles))
        assert np.array_equal(percentile(probability, quantiles), expected)
        assert expected.min() == 0
        assert expected.max() == 100

    def test_the_tier_is_that_of_the_score_told(self, tmp_path, written):
        manifest, graph, _ = written
        # Every score is 80.003, which is told as 80.
        manifest = manifest | {"calibration": {"x": [0, 1], "y": [0.80003, 0.80003]},
                               "reference_quantiles": list(np.linspace(0, 1, 101))}  # fmt: skip
        bare = {name: value for name, value in manifest.items() if name != "digest"}
        made = training_bundle.write_bundle(tmp_path, graph, bare, card={})
        loaded = load_bundle(made.path, tenant_id=uuid.UUID(int=1), model="lead_scoring", digest=made.digest)
        judged = loaded.judge(np.zeros((1, len(loaded.inputs)), np.float32))
        assert (judged.score[0], judged.tier.rows()) == (80, ["warm"])

    def test_a_tier_is_the_same_at_its_bounds(self, written):
        manifest, _, folder = written
        loaded = load_bundle(folder, tenant_id=uuid.UUID(int=1), model="lead_scoring", digest=folder.name)
        scores = np.array([0, 50, 50.01, 80, 80.01, 100])
        assert loaded.tiers_of(scores).rows() == training_score.tiers_of(scores, manifest["tiers"])
