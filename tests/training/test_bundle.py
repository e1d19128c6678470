"""What serving receives: complete, checked, named by its content."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.training.conftest import START
from training.bundle import (
    Champion,
    bundle_digest,
    bundle_of_version,
    champion_bundle,
    champions,
    export_checked,
    make_manifest,
    onnx_session,
    point_champion,
    read_bundle,
    run_onnx,
    write_bundle,
)
from training.datasets import split_by_time
from training.errors import BundleCorrupt, ParityFailed, UnknownVersion
from training.synthetic import synthetic_dataset
from training.train import train


@pytest.fixture(scope="module")
def trained_of(split_of):
    made = {}

    def trained(model: str):
        if model not in made:
            made[model] = train(split_of(model), seed=3, now=START)
        return made[model]

    return trained


class TestExport:
    @pytest.mark.parametrize("model", ["lead_scoring", "churn", "engagement"])
    def test_answers_as_the_fitted_model_does_on_real_rows(self, model: str, trained_of, split_of) -> None:
        split = split_of(model)
        graph, difference = export_checked(trained_of(model), split.test)
        assert difference < 1e-5
        session = onnx_session(graph)
        assert [given.name for given in session.get_inputs()] == ["X"]
        assert [given.name for given in session.get_outputs()] == ["probabilities"]
        rows = split.calibrate.matrix()[:500].copy()
        rows[::7, ::3] = np.nan
        assert np.abs(run_onnx(session, rows) - trained_of(model).raw(rows)).max() < 1e-5

    def test_answers_so_where_too_few_rows_leave_nothing_to_split(self) -> None:
        split = split_by_time(synthetic_dataset("lead_scoring", 60, 3, seed=11, start=START)[0])
        trained = train(split, seed=1, now=START, min_labels_per_class=10)
        assert np.unique(trained.raw(split.test.matrix())).size == 1
        assert export_checked(trained, split.test)[1] < 1e-6

    @pytest.mark.parametrize("model", ["lead_scoring", "churn", "engagement"])
    def test_gives_two_probabilities_that_sum_to_one(self, model: str, trained_of, split_of) -> None:
        graph, _ = export_checked(trained_of(model), split_of(model).test)
        both = onnx_session(graph).run(["probabilities"], {"X": split_of(model).test.matrix()[:50]})[0]
        assert both.shape == (50, 2)
        assert both.dtype == np.float32
        assert np.allclose(both.sum(axis=1), 1.0, atol=1e-6)

    def test_a_graph_that_differs_is_refused(self, trained_of, split_of) -> None:
        with pytest.raises(ParityFailed):
            export_checked(trained_of("engagement"), split_of("engagement").test, limit=0.0)


class TestWriteBundle:
    @pytest.fixture
    def bundle(self, tmp_path: Path, trained_of, split_of):
        trained = trained_of("engagement")
        graph, _ = export_checked(trained, split_of("engagement").test)
        manifest = make_manifest(trained, "4", split_of("engagement"))
        return write_bundle(tmp_path, graph, manifest, {"figures": {}})

    def test_the_manifest_holds_the_contract(self, bundle) -> None:
        manifest = json.loads((bundle.path / "manifest.json").read_text())
        assert set(manifest) == {
            "schema_version",
            "tenant_id",
            "model",
            "version",
            "digest",
            "feature_service",
            "inputs",
            "dtype",
            "ranges",
            "calibration",
            "reference_quantiles",
            "tiers",
            "reference_campaign",
            "base_rate",
            "trained_at",
            "interval",
            "card_digest",
        }
        assert len(manifest["reference_quantiles"]) == 101
        assert manifest["reference_quantiles"] == sorted(manifest["reference_quantiles"])
        assert len(manifest["calibration"]["x"]) == len(manifest["calibration"]["y"])
        assert manifest["reference_campaign"]["offer_type"] in ("discount", "gift")

    def test_the_ranges_are_those_of_the_rows_learnt_from(self, bundle, split_of) -> None:
        split = split_of("engagement")
        learnt = np.vstack([split.fit.matrix(), split.calibrate.matrix()])
        position = next(n for n, given in enumerate(bundle.inputs) if given.name == "days_since_last_read")
        known = learnt[np.isfinite(learnt[:, position]), position]
        assert bundle.manifest["ranges"]["days_since_last_read"] == [float(known.min()), float(known.max())]
        assert set(bundle.manifest["ranges"]) <= {given.name for given in bundle.inputs}

    def test_the_reference_campaign_is_one_that_was_learnt_from(self, trained_of, split_of) -> None:
        split, newest = split_of("engagement"), {"offer_type": "never seen", "reward": 1_000}
        later = replace(split, test=split.test.asked_about(newest))
        manifest = make_manifest(trained_of("engagement"), "1", later)
        campaign = manifest["reference_campaign"]
        assert campaign != newest
        asked = later.newest_per_contact().asked_about(campaign).matrix()
        for position, given in enumerate(trained_of("engagement").inputs):
            if given.source == "campaign_attribute":
                least, greatest = manifest["ranges"][given.name]
                assert ((asked[:, position] >= least) & (asked[:, position] <= greatest)).all(), given.name

    def test_a_score_is_read_against_everybody_once_about_the_reference_campaign(self, bundle, split_of) -> None:
        people = split_of("engagement").newest_per_contact()
        assert people.frame["contact_id"].is_unique().all()
        asked = people.asked_about(bundle.manifest["reference_campaign"])
        above = bundle.probability(asked.matrix()) >= bundle.manifest["reference_quantiles"][80]
        assert above.mean() == pytest.approx(0.2, abs=0.01)

    def test_predicts_as_the_trained_model_does(self, bundle, trained_of, split_of) -> None:
        matrix = split_of("engagement").test.matrix()
        assert np.abs(bundle.probability(matrix) - trained_of("engagement").probability(matrix)).max() < 1e-4

    def test_writing_it_again_changes_nothing(self, bundle, tmp_path: Path) -> None:
        graph = (bundle.path / "model.onnx").read_bytes()
        again = write_bundle(tmp_path, graph, bundle.manifest, {"figures": {}})
        assert again.path == bundle.path
        assert [path.name for path in bundle.path.parent.iterdir()] == [bundle.digest]

    def test_no_pickle_is_in_it(self, bundle) -> None:
        assert sorted(path.name for path in bundle.path.iterdir()) == ["card.json", "manifest.json", "model.onnx"]

    def test_a_changed_graph_is_found_out(self, bundle) -> None:
        (bundle.path / "model.onnx").write_bytes((bundle.path / "model.onnx").read_bytes() + b"\0")
        with pytest.raises(BundleCorrupt):
            read_bundle(bundle.path)

    def test_a_changed_manifest_is_found_out(self, bundle) -> None:
        changed = json.loads((bundle.path / "manifest.json").read_text()) | {"base_rate": 0.99}
        (bundle.path / "manifest.json").write_text(json.dumps(changed))
        with pytest.raises(BundleCorrupt):
            read_bundle(bundle.path)

    def test_a_changed_card_is_found_out(self, bundle) -> None:
        (bundle.path / "card.json").write_text(json.dumps({"figures": {"auc": 0.99}}))
        with pytest.raises(BundleCorrupt, match="card"):
            read_bundle(bundle.path)
        (bundle.path / "card.json").unlink()
        with pytest.raises(BundleCorrupt, match="card"):
            read_bundle(bundle.path)

    def test_one_of_before_cards_were_named_is_read(self, bundle, tmp_path: Path) -> None:
        manifest = {name: value for name, value in bundle.manifest.items() if name != "card_digest"}
        graph = (bundle.path / "model.onnx").read_bytes()
        older = tmp_path / bundle_digest(graph, manifest)
        older.mkdir()
        (older / "model.onnx").write_bytes(graph)
        (older / "manifest.json").write_text(json.dumps(manifest | {"digest": older.name}))
        assert read_bundle(older).card == {}

    def test_the_pointer_names_the_champion(self, bundle, tmp_path: Path) -> None:
        tenant = bundle.manifest["tenant_id"]
        assert champion_bundle(tmp_path, tenant, "engagement") is None
        point_champion(tmp_path, bundle, [Champion("3", "0" * 64, "2026-01-01T00:00:00+00:00")], START)
        pointer = json.loads((tmp_path / tenant / "engagement" / "champion.json").read_text())
        assert (pointer["digest"], pointer["version"]) == (bundle.digest, "4")
        assert [one.version for one in champions(tmp_path, tenant, "engagement")] == ["3", "4"]
        found = champion_bundle(tmp_path, tenant, "engagement")
        assert found is not None
        assert found.digest == bundle.digest

    def test_a_version_is_found_by_name(self, bundle, tmp_path: Path) -> None:
        tenant = bundle.manifest["tenant_id"]
        assert bundle_of_version(tmp_path, tenant, "engagement", "4").digest == bundle.digest
        with pytest.raises(UnknownVersion):
            bundle_of_version(tmp_path, tenant, "engagement", "5")
