"""Scores of everybody the warehouse knows."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from feature_store.warehouse import DuckDBWarehouse
from tests.training.conftest import OTHER_TENANT, START, TENANT, add_rows
from training.bundle import export_checked, make_manifest, onnx_session, run_onnx
from training.cycle import learn_from
from training.datasets import split_by_time
from training.registry import Registry
from training.score import percentile, score_contacts, tiers_of
from training.settings import TrainingSettings
from training.synthetic import synthetic_dataset
from training.train import train

NOW = START + timedelta(weeks=10)
COLUMNS = [
    "contact_id",
    "model",
    "model_version",
    "score",
    "probability",
    "tier",
    "reasons",
    "feature_snapshot_id",
    "digest",
    "interval_low",
    "interval_high",
    "interval_level",
    "scored_at",
]


@pytest.fixture
def people(warehouse: DuckDBWarehouse) -> DuckDBWarehouse:
    """`keen` reads and buys, `idle` does neither, `new` is unknown to every feature view; one stranger."""
    for tenant, contact in ((TENANT, "keen"), (TENANT, "idle"), (TENANT, "new"), (OTHER_TENANT, "stranger")):
        add_rows(warehouse, "marts.dim_contacts", [{"tenant_id": tenant, "contact_id": contact}])

    def snapshot(contact: str, **given: Any) -> dict[str, Any]:
        at = START + timedelta(weeks=9)
        return {"tenant_id": TENANT, "contact_id": contact, "event_timestamp": at, "created_timestamp": at} | given

    recent, old = START + timedelta(weeks=9, days=6), START + timedelta(weeks=4)
    add_rows(
        warehouse,
        "features.contact_messaging_daily",
        [
            snapshot("keen", sent_90d=10.0, read_90d=10.0, read_rate_90d=1.0, last_read_at=recent),
            snapshot("idle", sent_90d=10.0, read_90d=0.0, read_rate_90d=0.0, last_read_at=old),
        ],
    )
    add_rows(
        warehouse,
        "features.contact_orders_daily",
        [
            snapshot("keen", orders_90d=8.0, last_order_at=recent),
            snapshot("idle", orders_90d=0.0, last_order_at=old),
        ],
    )
    add_rows(
        warehouse,
        "features.contact_timing_daily",
        [
            snapshot(
                "keen", active_night_90d=0.0, active_morning_90d=9.0, active_afternoon_90d=1.0, active_evening_90d=0.0
            ),
            snapshot(
                "idle", active_night_90d=0.0, active_morning_90d=0.0, active_afternoon_90d=1.0, active_evening_90d=9.0
            ),
        ],
    )
    return warehouse


def _by_contact(frame) -> dict[str, dict[str, Any]]:
    return {row["contact_id"]: row for row in frame.iter_rows(named=True)}


class TestScoreContacts:
    def test_one_row_per_contact_of_the_tenant(self, people, split_of, registry: Registry, settings) -> None:
        learn_from(split_of("lead_scoring"), registry, settings, now=NOW, seed=1)
        found = score_contacts(people, settings.bundles_dir, TENANT, "lead_scoring", NOW)
        assert found.columns == COLUMNS
        rows = _by_contact(found)
        assert set(rows) == {"keen", "idle", "new"}
        assert rows["keen"]["score"] > rows["idle"]["score"]
        assert rows["keen"]["tier"] == "hot"
        assert rows["keen"]["model_version"] == "1"
        drivers = json.loads(rows["keen"]["reasons"])["drivers"]
        assert {"field": "orders_90d", "value": 8.0, "effect": pytest.approx(0.4, abs=0.4)} in drivers

    def test_the_campaign_asked_about_matters(self, people, split_of, registry: Registry, settings) -> None:
        learn_from(split_of("engagement"), registry, settings, now=NOW, seed=1)

        def mean(**attributes: Any) -> float:
            return float(
                score_contacts(people, settings.bundles_dir, TENANT, "engagement", NOW, attributes)[
                    "probability"
                ].mean()
            )

        liked = mean(offer_type="gift", reward=5, channels=["social"])
        assert liked > mean(offer_type="discount", reward=10, channels=["web"]) + 0.1

    def test_engagement_names_the_hour_each_person_answers_at(self, people, split_of, registry, settings) -> None:
        learn_from(split_of("engagement"), registry, settings, now=NOW, seed=1)
        rows = _by_contact(score_contacts(people, settings.bundles_dir, TENANT, "engagement", NOW))
        best = {contact: json.loads(row["reasons"])["best_send"] for contact, row in rows.items()}
        assert 6 <= int(best["keen"]["at"][11:13]) < 12
        assert int(best["idle"]["at"][11:13]) >= 18
        assert best["keen"]["probability"] >= rows["keen"]["probability"] - 1e-4

    def test_churn_comes_with_advice_about_this_contact(self, people, split_of, registry, settings) -> None:
        action = {"action": "send one with offer_type gift", "people": 50, "return_rate": 0.6, "base_rate": 0.17}
        notes = {"actions": [action | {"low": 0.2, "high": 0.5}]}
        learn_from(split_of("churn"), registry, settings, now=NOW, seed=1, notes=notes)
        rows = _by_contact(score_contacts(people, settings.bundles_dir, TENANT, "churn", NOW))
        assert rows["idle"]["probability"] > rows["keen"]["probability"]
        assert rows["idle"]["tier"] == "high"
        reasons = {contact: json.loads(row["reasons"]) for contact, row in rows.items()}
        for told in reasons.values():
            *driven, sent = told["advice"]
            assert len(driven) == sum(driver["effect"] >= 0.001 for driver in told["drivers"])
            assert sent == (
                "Send one with offer_type gift: 60% of 50 silent people came back within four weeks, 17% of those who"
                " were sent another."
            )
        strongest = max(reasons["idle"]["drivers"], key=lambda driver: driver["effect"])
        assert f"{100 * strongest['effect']:.1f} points of risk" in reasons["idle"]["advice"][0]
        assert reasons["idle"]["advice"] != reasons["keen"]["advice"]

    @pytest.mark.parametrize("model", ["lead_scoring", "churn", "engagement"])
    def test_without_a_champion_the_rule_speaks_and_says_so(self, people, settings: TrainingSettings, model) -> None:
        rows = _by_contact(score_contacts(people, settings.bundles_dir, TENANT, model, NOW))
        assert {row["model_version"] for row in rows.values()} == {"rule"}
        assert all(json.loads(row["reasons"])["abstained"] for row in rows.values())
        assert all("advice" not in json.loads(row["reasons"]) for row in rows.values())
        better = rows["keen"]["probability"] > rows["idle"]["probability"]
        assert better is (model != "churn")

    def test_the_tier_is_that_of_the_score_told(self, people, split_of, registry, settings, monkeypatch) -> None:
        learn_from(split_of("lead_scoring"), registry, settings, now=NOW, seed=1)
        monkeypatch.setattr("training.score.scores_of", lambda *asked: np.full(len(asked[2]), 80.003))
        found = score_contacts(people, settings.bundles_dir, TENANT, "lead_scoring", NOW)
        assert set(found.select("score", "tier").iter_rows()) == {(80.0, "warm")}

    def test_a_tenant_without_contacts_has_no_scores(
        self, warehouse: DuckDBWarehouse, settings: TrainingSettings
    ) -> None:
        found = score_contacts(warehouse, settings.bundles_dir, TENANT, "churn", NOW)
        assert found.columns == COLUMNS
        assert found.is_empty()


class TestPercentile:
    def test_is_linear_between_the_quantiles(self) -> None:
        quantiles = list(np.linspace(0.2, 0.6, 101))
        assert percentile(np.array([0.0, 0.2, 0.4, 0.5, 0.9]), quantiles) == pytest.approx([0, 0, 50, 75, 100])

    def test_a_tie_is_its_middle(self) -> None:
        quantiles = [0.1] * 41 + [0.5] * 60
        assert percentile(np.array([0.1, 0.5]), quantiles) == pytest.approx([20, 70.5])

    def test_rounding_leaves_nobody_beside_their_tie(self) -> None:
        quantiles = [0.1] * 41 + [0.5] * 60
        told = np.array([0.1 - 1e-7, 0.1 + 1e-7, 0.5 - 1e-7, 0.5 + 1e-7])
        assert percentile(told, quantiles) == pytest.approx([20, 20, 70.5, 70.5])

    def test_the_exported_model_places_people_as_the_fitted_one(self) -> None:
        """A lesson so small that everybody is given the same probability."""
        split = split_by_time(synthetic_dataset("lead_scoring", 90, 3, seed=11, start=START)[0])
        trained = train(split, seed=1, now=NOW, min_labels_per_class=10)
        graph, _ = export_checked(trained, split.test)
        manifest = make_manifest(trained, "1", split)
        asked = split.newest_per_contact().asked_about(manifest["reference_campaign"]).matrix()
        served = trained.calibration.apply(run_onnx(onnx_session(graph), asked))
        placed = percentile(served, manifest["reference_quantiles"])
        assert placed == pytest.approx(percentile(trained.probability(asked), manifest["reference_quantiles"]), abs=0.1)
        assert placed.mean() == pytest.approx(50, abs=1)


class TestTiersOf:
    def test_a_bound_belongs_to_the_tier_below(self) -> None:
        tiers = {"hot": 80.0, "warm": 50.0, "cold": 0.0}
        scores = np.array([0.0, 50.0, 50.01, 80.0, 80.01, 100.0])
        assert tiers_of(scores, tiers) == ["cold", "cold", "warm", "warm", "hot", "hot"]
