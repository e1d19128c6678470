"""The whole lesson against a real MLflow database, and the gate between models."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from feature_store.warehouse import DuckDBWarehouse
from tests.training.conftest import START, TENANT, add_rows, campaign
from training import cycle
from training.bundle import champion_bundle
from training.cycle import learn, learn_from
from training.datasets import Split, build_dataset
from training.errors import NoEarlierChampion
from training.plots import draw
from training.promote import promote, roll_back
from training.registry import Registry, log_abstention, version_of_alias, versions
from training.settings import TrainingSettings

NOW = START + timedelta(weeks=10)


def _inverted(split: Split) -> Split:
    """The same rows, learnt the wrong way round and judged the right way."""

    def flipped(part):
        return replace(part, frame=part.frame.with_columns((1 - pl.col("label")).alias("label")))

    return replace(split, fit=flipped(split.fit), calibrate=flipped(split.calibrate))


class TestLearnFrom:
    def test_records_registers_and_promotes_the_first_model(
        self, split_of, registry: Registry, settings: TrainingSettings
    ) -> None:
        found = learn_from(split_of("engagement"), registry, settings, now=NOW, seed=1, tags={"git_sha": "abc"})
        assert found.verdict.promote
        assert (found.champion, found.registered.version) == ("1", "1")
        client = registry.client()
        run = client.get_run(found.registered.run_id)
        assert run.info.status == "FINISHED"
        assert run.data.metrics["auc"] == pytest.approx(found.evaluation.figures()["auc"])
        assert run.data.params["C"] == "0.001"
        assert run.data.tags["dataset_digest"] == split_of("engagement").digest
        assert run.data.tags["git_sha"] == "abc"
        (learnt_from,) = run.inputs.dataset_inputs
        assert split_of("engagement").digest.startswith(learnt_from.dataset.digest)
        logged = {item.path for item in client.list_artifacts(found.registered.run_id, "evaluation")}
        pictures = {f"evaluation/{name}.png" for name in ("roc", "calibration", "lift", "gain")}
        assert logged == pictures | {"evaluation/deciles.json"}
        version = client.get_model_version_by_alias(registry.model_name("engagement"), "champion")
        assert version.tags["bundle_digest"] == found.digest
        assert version.tags["feature_service"] == "engagement_v1"

    def test_the_registered_model_answers_as_the_bundle_does(
        self, split_of, registry: Registry, settings: TrainingSettings
    ) -> None:
        import mlflow

        found = learn_from(split_of("lead_scoring"), registry, settings, now=NOW, seed=1)
        client = registry.client()
        uri = client.get_model_version(registry.model_name("lead_scoring"), found.registered.version).source
        matrix = split_of("lead_scoring").test.matrix()[:20]
        answered = mlflow.pyfunc.load_model(uri).predict(matrix)["probabilities"]
        bundle = champion_bundle(settings.bundles_dir, TENANT, "lead_scoring")
        assert bundle is not None
        assert np.allclose(bundle.calibration.apply(answered[:, 1]), bundle.probability(matrix), atol=1e-6)

    def test_a_worse_challenger_is_kept_back(self, split_of, registry: Registry, settings: TrainingSettings) -> None:
        split = split_of("churn")
        first = learn_from(split, registry, settings, now=NOW, seed=1)
        worse = learn_from(_inverted(split), registry, settings, now=NOW + timedelta(days=7), seed=1)
        assert (first.champion, worse.champion) == ("1", "1")
        assert worse.verdict.against == "version 1"
        assert worse.verdict.gain.upper < 0
        assert version_of_alias(registry, "churn", "champion") == "1"
        assert version_of_alias(registry, "churn", "challenger") == "2"
        bundle = champion_bundle(settings.bundles_dir, TENANT, "churn")
        assert bundle is not None
        assert bundle.digest == first.digest

    def test_a_challenger_is_held_against_who_was_promoted_while_it_was_fitted(
        self, split_of, registry: Registry, settings: TrainingSettings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        split, others = split_of("lead_scoring"), []

        def drawn(evaluation):
            if not others:
                others.append("fitting")
                others.append(learn_from(split, registry, settings, now=NOW, seed=1))
            return draw(evaluation)

        monkeypatch.setattr(cycle, "draw", drawn)
        found = learn_from(split, registry, settings, now=NOW, seed=1)
        assert others[1].verdict.promote
        assert (found.verdict.against, found.verdict.promote, found.champion) == ("version 1", False, "1")

    def test_a_first_model_that_does_not_beat_the_rule_is_kept_back(
        self, split_of, registry: Registry, settings: TrainingSettings
    ) -> None:
        found = learn_from(_inverted(split_of("engagement")), registry, settings, now=NOW, seed=1)
        assert not found.verdict.promote
        assert found.champion is None
        assert version_of_alias(registry, "engagement", "champion") is None
        assert champion_bundle(settings.bundles_dir, TENANT, "engagement") is None

    def test_rolling_back_gives_the_word_to_the_champion_before(
        self, split_of, registry: Registry, settings: TrainingSettings
    ) -> None:
        split = split_of("lead_scoring")
        first = learn_from(split, registry, settings, now=NOW, seed=1)
        worse = learn_from(_inverted(split), registry, settings, now=NOW, seed=1)
        promote(registry, settings.bundles_dir, TENANT, "lead_scoring", worse.registered.version, now=NOW)
        promote(registry, settings.bundles_dir, TENANT, "lead_scoring", worse.registered.version, now=NOW)
        roll_back(registry, settings.bundles_dir, TENANT, "lead_scoring", now=NOW)
        bundle = champion_bundle(settings.bundles_dir, TENANT, "lead_scoring")
        assert bundle is not None
        assert bundle.digest == first.digest
        assert version_of_alias(registry, "lead_scoring", "champion") == first.registered.version
        with pytest.raises(NoEarlierChampion):
            roll_back(registry, settings.bundles_dir, TENANT, "lead_scoring", now=NOW)

    def test_versions_are_listed_with_what_is_known_of_them(
        self, split_of, registry: Registry, settings: TrainingSettings
    ) -> None:
        learn_from(split_of("lead_scoring"), registry, settings, now=NOW, seed=1)
        learn_from(_inverted(split_of("lead_scoring")), registry, settings, now=NOW, seed=1)
        newest, oldest = versions(registry, "lead_scoring")
        assert (newest.version, newest.aliases) == ("2", ("challenger",))
        assert (oldest.version, oldest.aliases) == ("1", ("champion",))
        assert oldest.figures["auc"] > 0.6 > newest.figures["auc"]
        assert "beyond chance" in newest.gate
        assert versions(registry, "churn") == []

    def test_the_card_says_how_it_was_made(self, split_of, registry: Registry, settings: TrainingSettings) -> None:
        learn_from(split_of("churn"), registry, settings, now=NOW, seed=1)
        bundle = champion_bundle(settings.bundles_dir, TENANT, "churn")
        assert bundle is not None
        card = json.loads((bundle.path / "card.json").read_text())
        assert card["against"] == "rule"
        assert card["parity"] < 1e-5
        drops = [entry["auc_drop"] for entry in card["importance"]]
        assert drops == sorted(drops, reverse=True)
        assert card["importance"][0]["field"] in {
            "days_since_last_read",
            "days_since_last_sent",
            "days_since_last_inbound",
            "days_since_last_order",
            "tenure_days",
            "read_rate_90d",
        }

    def test_the_page_of_a_version_says_what_it_is_and_whom_it_is_not_for(
        self, split_of, registry: Registry, settings: TrainingSettings
    ) -> None:
        found = learn_from(split_of("lead_scoring"), registry, settings, now=NOW, seed=1)
        client = registry.client()
        described = client.get_model_version(found.registered.name, found.registered.version).description
        figures = found.evaluation.figures()
        assert f"{split_of('lead_scoring').learn.frame.height:,} rows of this tenant's contacts" in described
        within = f"from {figures['auc_lower']:.4g} to {figures['auc_upper']:.4g}"
        assert f"| AUC | {figures['auc']:.4g} | {within} |" in described
        assert f"| gain over the rule | {figures['gain_over_rule']:.4g} | from" in described
        assert "campaigns that cannot convert were left out" in described.split("### Not for")[1]

    def test_people_of_whom_too_little_is_known_stand_on_the_card(
        self, split_of, registry: Registry, settings: TrainingSettings
    ) -> None:
        split: Split = split_of("engagement")
        # Ten of those judged came yesterday, and none of them reads.
        known_at = pl.when(pl.int_range(pl.len()) < 10).then(pl.col("event_timestamp") - timedelta(days=1))
        label = pl.when(pl.int_range(pl.len()) < 10).then(0).otherwise(pl.col("label")).cast(pl.Int8).alias("label")
        frame = split.test.frame.with_columns(
            known_at.otherwise(pl.col("event_timestamp") - timedelta(days=90)).alias("first_known_at"), label
        )
        learn_from(replace(split, test=replace(split.test, frame=frame)), registry, settings, now=NOW, seed=1)
        bundle = champion_bundle(settings.bundles_dir, TENANT, "engagement")
        assert bundle is not None
        card = json.loads((bundle.path / "card.json").read_text())
        assert card["weak_for"] == [
            "Contacts known for less than 30 days: with 0 of 10 rows 1, nobody knows how good it is."
        ]


class TestLogAbstention:
    def test_another_run_of_a_new_tenant_may_make_its_experiment_first(
        self, registry: Registry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        client = registry.client()
        looked = client.get_experiment_by_name
        others: list[str] = []

        def too_early(name: str):
            if not others:
                others.append(client.create_experiment(name))
                return None
            return looked(name)

        monkeypatch.setattr(client, "get_experiment_by_name", too_early)
        assert [registry.experiment_id(client)] == others

    def test_records_that_nothing_was_fitted_and_why(self, registry: Registry) -> None:
        run_id = log_abstention(registry, "churn", TENANT, "3 positive labels", {})
        run = registry.client().get_run(run_id)
        assert run.info.status == "FINISHED"
        assert (run.data.tags["outcome"], run.data.tags["why"]) == ("abstained", "3 positive labels")


class TestLearn:
    def test_learns_from_a_warehouse(
        self, warehouse: DuckDBWarehouse, registry: Registry, settings: TrainingSettings
    ) -> None:
        add_rows(warehouse, "marts.dim_campaigns", [campaign("c1", offer_type="gift"), campaign("c2", offer_type="x")])
        with warehouse.connect(read_only=False) as connection:
            # 300 people, six weekly sends; gifts are read by nine in ten, the rest by one in ten.
            connection.execute(
                """
                insert into marts.fct_sends
                select ?, 'contact-' || person, 'm-' || person || '-' || week, case when gift then 'c1' else 'c2' end,
                    sent_at, null,
                    case when lucky < case when gift then 0.9 else 0.1 end then sent_at + interval 1 hour end,
                    null, sent_at + interval 2 day
                from (
                    select person, week, ?::timestamptz + to_days(7 * week::int) as sent_at,
                        (person + week) % 2 = 0 as gift, hash(person, week) % 1000 / 1000.0 as lucky
                    from range(300) as people (person), range(6) as weeks (week)
                )
                """,
                [TENANT, START],
            )
        inputs = {"contact": {}, "campaign": {"offer_type": "category"}}
        dataset = build_dataset(warehouse, TENANT, "engagement", NOW, inputs)
        found = learn(dataset, registry, settings, now=NOW, seed=1)
        assert found.verdict.promote
        assert found.evaluation.auc.value == pytest.approx(0.9, abs=0.04)
