"""What is told beside a score: why, when to send, what may help, how fresh it all is."""

from __future__ import annotations

import datetime as dt
import json
import uuid

import pyarrow as pa
import pytest

from serving.kit.database import Database
from serving.prediction.service import publish_scores
from tests.serving.prediction.conftest import ORDERED_AT

NOW = dt.datetime(2026, 3, 11, 8, 20, tzinfo=dt.UTC)
DAY = 86_400_000_000
MODELS = "/api/v1/ml/models"
ACTION = {
    "action": "Offer type is discount", "kind": "campaign_attribute", "field": "offer_type", "value": "discount",
    "people": 200, "returned": 50, "return_rate": 0.25, "base_rate": 0.1, "low": 0.08, "high": 0.22,
}  # fmt: skip
# An hour's sine and cosine stand where the other tests have the order's age and the gender.
CLOCK = [
    {"name": "orders_total", "source": "feature", "field": "orders_total"},
    {"name": "send_hour_sin", "source": "on_demand", "field": "send_hour_sin"},
    {"name": "send_hour_cos", "source": "on_demand", "field": "send_hour_cos"},
    {"name": "campaign.reward", "source": "campaign_attribute", "field": "reward"},
]


def predict(api, headers, contact_id, **body):
    return api.post(f"{MODELS}/lead-scoring/predict", headers=headers, json={"contact_id": str(contact_id)} | body)


class TestExplanation:
    def test_contributions_and_base_add_up_to_the_probability(self, api, headers, owner, contact_id, champions):
        champions.promote(owner.tenant_id, "lead_scoring")
        plain = predict(api, headers, contact_id).json()
        assert plain["explanation"] is None
        told = predict(api, headers, contact_id, explain=True).json()
        explanation = told["explanation"]
        added = sum(each["contribution"] for each in explanation["contributions"])
        assert explanation["base"] + added == pytest.approx(told["probability"], abs=1e-9)
        assert told["probability"] == plain["probability"]
        found = {each["field"]: each for each in explanation["contributions"]}
        # The reward is the usual one, and so does nothing; one order more, a fresher one and being a woman help.
        assert found.keys() == {"orders_total", "days_since_last_order", "gender"}
        assert all(each["contribution"] > 0 for each in found.values())
        assert (found["orders_total"]["value"], found["orders_total"]["usual"]) == (2, 1)
        # The same question has the same answer.
        assert predict(api, headers, contact_id, explain=True).json() == told

    def test_without_a_card_there_is_no_explanation(self, api, headers, owner, contact_id, champions):
        champions.promote(owner.tenant_id, "lead_scoring", card=None)
        refused = predict(api, headers, contact_id, explain=True)
        assert (refused.status_code, refused.json()["type"]) == (409, "urn:rapport:problem:card-missing")
        assert predict(api, headers, contact_id).status_code == 200

    def test_a_changed_card_explains_nothing(self, api, headers, owner, contact_id, champions):
        folder = champions.promote(owner.tenant_id, "lead_scoring", card_digest="0" * 64)
        assert (folder / "card.json").exists()
        refused = predict(api, headers, contact_id, explain=True)
        assert (refused.status_code, refused.json()["type"]) == (503, "urn:rapport:problem:bundle-broken")


class TestFreshness:
    def test_a_missed_refresh_is_flagged_with_the_age(self, api, headers, owner, contact_id, champions, clock):
        champions.promote(owner.tenant_id, "lead_scoring")
        fresh = predict(api, headers, contact_id).json()
        assert (fresh["features_stale"], fresh["features_age_seconds"]) == (False, 86_400 + 8 * 3600 + 20 * 60)
        clock.advance(hours=24)
        stale = predict(api, headers, contact_id).json()
        assert (stale["features_stale"], stale["features_age_seconds"]) == (True, 2 * 86_400 + 8 * 3600 + 20 * 60)

    def test_features_beyond_the_stores_expiry_give_no_score(self, api, headers, owner, contact_id, champions, online):
        champions.promote(owner.tenant_id, "lead_scoring")
        online(owner.tenant_id, contact_id, {}, ORDERED_AT, snapshot_at=ORDERED_AT, orders_total=2)
        refused = predict(api, headers, contact_id)
        assert (refused.status_code, refused.json()["type"]) == (409, "urn:rapport:problem:features-expired")
        batch = api.post(f"{MODELS}/lead-scoring/batch", headers=headers, json={"contact_ids": [contact_id]}).json()
        assert batch["not_predicted"] == [{"contact_id": contact_id, "reason": "features_expired"}]


class TestOptimalTime:
    def ask(self, api, headers, contact_id, **body):
        asked = {"contact_id": str(contact_id)} | body
        return api.post(f"{MODELS}/engagement-prediction/optimal-time", headers=headers, json=asked)

    def test_the_best_hour_is_told_by_the_tenants_clock(self, api, headers, owner, contact_id, champions):
        # -0.1 for the sine, +1 for the cosine: best around midnight, in Berlin an hour before that of UTC.
        champions.promote(owner.tenant_id, "engagement", inputs=CLOCK)
        answer = self.ask(api, headers, contact_id, alternatives=3)
        assert answer.status_code == 200, answer.text
        told = answer.json()
        assert (told["timezone"], told["best"]["hour"]) == ("Europe/Berlin", 0)
        assert told["best"]["at"] == "2026-03-11T23:00:00Z"
        assert told["best"]["weekday"] == 3
        chances = [told["best"]["probability"], *(each["probability"] for each in told["alternatives"])]
        assert (len(chances), chances) == (4, sorted(chances, reverse=True))
        assert told["gain"] == pytest.approx(told["best"]["probability"] - told["mean_probability"])

    def test_all_hours_of_the_week_are_looked_at(self, api, headers, owner, contact_id, champions):
        champions.promote(owner.tenant_id, "engagement", inputs=CLOCK)
        told = self.ask(api, headers, contact_id, alternatives=167).json()
        moments = {dt.datetime.fromisoformat(each["at"]) for each in [told["best"], *told["alternatives"]]}
        assert (len(moments), min(moments)) == (168, NOW.replace(hour=9, minute=0))
        assert max(moments) - min(moments) == dt.timedelta(hours=167)

    def test_a_strangers_contact_is_not_found(self, api, as_stranger, stranger, contact_id, champions):
        champions.promote(stranger.tenant_id, "engagement", inputs=CLOCK)
        assert self.ask(api, as_stranger, contact_id).status_code == 404

    def test_bad_questions_are_refused(self, api, headers, owner, contact_id, champions):
        assert self.ask(api, headers, contact_id).status_code == 409
        champions.promote(owner.tenant_id, "engagement", inputs=CLOCK)
        assert self.ask(api, headers, contact_id, alternatives=168).status_code == 422
        assert self.ask(api, headers, contact_id, campaign_id=str(uuid.uuid4())).status_code == 404


class TestByRule:
    """Where no model has been promoted, the same is told as the contact's published score says."""

    @pytest.fixture
    def ruled(self, owner, contact_id, database, redis_url):
        """Publishes a score of the contact by a model's version."""
        door = Database(database.worker)

        def publish(model, version="rule", scored_at=NOW - dt.timedelta(hours=3)):
            row = {
                "contact_id": contact_id, "model": model, "model_version": version, "score": 42.5,
                "probability": 0.425, "tier": "medium", "reasons": '{"abstained": true}',
                "feature_snapshot_id": "20260311T052000.000000Z", "scored_at": scored_at,
            }  # fmt: skip
            publish_scores(door, owner.tenant_id, pa.Table.from_pylist([row]), model, NOW, redis_url=redis_url)

        yield publish
        door.dispose()

    @pytest.mark.parametrize(
        ("route", "model"),
        [("churn-prediction", "churn"), ("lead-scoring", "lead_scoring"), ("engagement-prediction", "engagement")],
    )
    def test_the_rules_score_is_told_as_one(self, api, headers, contact_id, ruled, route, model):
        ruled(model)
        for content_type in ("application/json", "application/json; version=1"):
            answer = api.post(
                f"{MODELS}/{route}/predict",
                headers=headers | {"Content-Type": content_type},
                content=json.dumps({"contact_id": contact_id, "explain": True}),
            )
            assert answer.status_code == 200, answer.text
            assert answer.json() == {
                "contact_id": contact_id, "model": model, "model_version": "rule", "method": "rule", "score": 42.5,
                "probability": 0.425, "interval": None, "tier": "medium",
                "feature_snapshot_id": "20260311T052000.000000Z", "features_age_seconds": 3 * 3600,
                "features_stale": False, "out_of_range": [], "explanation": None,
            }  # fmt: skip

    def test_recommendations_say_that_no_model_spoke(self, api, headers, contact_id, ruled):
        ruled("churn")
        told = TestRecommendations().ask(api, headers, contact_id).json()
        assert (told["method"], told["model_version"], told["probability"], told["tier"]) == (
            "rule", "rule", 0.425, "medium",
        )  # fmt: skip
        assert (told["interval"], told["drivers"], told["actions"]) == (None, [], [])
        assert "a rule's" in told["actions_note"]

    def test_a_champion_speaks_itself(self, api, headers, owner, contact_id, champions, ruled):
        ruled("lead_scoring")
        champions.promote(owner.tenant_id, "lead_scoring")
        told = predict(api, headers, contact_id).json()
        assert (told["method"], told["model_version"]) == ("model", "1")

    def test_an_old_score_and_a_former_models_are_not_told(self, api, headers, contact_id, ruled):
        for version, scored_at in (("rule", NOW - dt.timedelta(days=30)), ("3", NOW)):
            ruled("lead_scoring", version, scored_at)
            refused = predict(api, headers, contact_id)
            assert (refused.status_code, refused.json()["type"]) == (409, "urn:rapport:problem:model-not-trained")

    def test_a_stranger_is_told_nothing(self, api, as_stranger, contact_id, ruled):
        ruled("lead_scoring")
        assert predict(api, as_stranger, contact_id).status_code == 409


class TestRecommendations:
    def ask(self, api, headers, contact_id):
        return api.get(
            f"{MODELS}/churn-prediction/recommendations", headers=headers, params={"contact_id": str(contact_id)}
        )

    def test_advice_names_what_drives_this_contacts_risk(self, api, headers, owner, contact_id, champions):
        champions.promote(owner.tenant_id, "churn", tiers={"high": 60, "medium": 30, "low": 0})
        answer = self.ask(api, headers, contact_id)
        assert answer.status_code == 200, answer.text
        told = answer.json()
        effects = [driver["effect"] for driver in told["drivers"]]
        assert effects == sorted(effects, reverse=True)
        assert all(effect > 0 for effect in effects)
        assert {driver["field"] for driver in told["drivers"]} == {"orders_total", "days_since_last_order", "gender"}
        order = next(driver for driver in told["drivers"] if driver["field"] == "orders_total")
        assert "2, where 1 is usual" in order["advice"]
        gender = next(driver for driver in told["drivers"] if driver["field"] == "gender")
        assert gender["advice"].startswith("gender: The contact's is f, which adds ")
        assert (gender["value"], gender["usual"]) == (None, None)
        assert told["tier"] == "medium"
        assert told["actions"] == []
        assert told["actions_note"]

    @pytest.mark.parametrize(("city", "told"), [("b", "b"), ("c", "none that the model knows")])
    def test_advice_names_a_category_as_it_is(self, api, headers, owner, contact_id, champions, online, city, told):
        sent, read = ({"name": name, "source": "feature", "field": name} for name in ("sent_30d", "read_30d"))
        cities = [
            {"name": f"contact.city={each}", "source": "contact_attribute", "field": "city", "equals": each}
            for each in ("a", "b")
        ]
        # Usual is the city that speaks against the risk.
        importance = [
            {"field": "sent_30d", "source": "feature", "auc_drop": 0, "columns": [0], "reference": [0]},
            {"field": "city", "source": "contact_attribute", "auc_drop": 0, "columns": [1, 2], "reference": [1, 0]},
            {"field": "read_30d", "source": "feature", "auc_drop": 0, "columns": [3], "reference": [0]},
        ]
        online(owner.tenant_id, contact_id, {"city": city}, sent_30d=0, read_30d=0)
        champions.promote(owner.tenant_id, "churn", card={"importance": importance}, inputs=[sent, *cities, read])
        (driver,) = self.ask(api, headers, contact_id).json()["drivers"]
        assert driver["advice"].startswith(f"city: The contact's is {told}, which adds ")
        assert (driver["value"], driver["usual"]) == (None, None)

    def test_what_brought_others_back_is_told_as_measured(self, api, headers, owner, contact_id, champions):
        champions.promote(owner.tenant_id, "churn", card=champions.card | {"actions": [ACTION]})
        told = self.ask(api, headers, contact_id).json()
        assert told["actions"][0]["action"] == "Offer type is discount"
        assert (told["actions"][0]["return_rate"], told["actions_note"]) == (0.25, None)

    def test_a_strangers_or_unknown_contact_gets_no_advice(self, api, as_stranger, stranger, contact_id, champions):
        champions.promote(stranger.tenant_id, "churn")
        assert self.ask(api, as_stranger, contact_id).status_code == 404
        assert self.ask(api, as_stranger, uuid.uuid4()).status_code == 404
        assert self.ask(api, as_stranger, "x").status_code == 422


class TestFeatureImportance:
    ROUTE = f"{MODELS}/engagement-prediction/feature-importance"

    def test_fields_come_with_what_they_matter(self, api, headers, owner, champions):
        champions.promote(owner.tenant_id, "engagement", version="4")
        told = api.post(self.ROUTE, headers=headers).json()
        assert (told["model"], told["model_version"]) == ("engagement", "4")
        assert [each["field"] for each in told["importance"]] == [
            "orders_total", "days_since_last_order", "gender", "reward",
        ]  # fmt: skip
        assert told["importance"][0]["auc_drop"] == 0.2
        assert told["importance"][0]["description"]

    def test_without_a_champion_or_a_card_there_is_none(self, api, headers, owner, champions):
        assert api.post(self.ROUTE, headers=headers).json()["type"] == "urn:rapport:problem:model-not-trained"
        champions.promote(owner.tenant_id, "engagement", card=None)
        assert api.post(self.ROUTE, headers=headers).json()["type"] == "urn:rapport:problem:card-missing"
        assert api.post(self.ROUTE, headers=headers, params={"model": "sentiment"}).status_code == 422


class TestHealth:
    def test_each_model_tells_its_state_and_features_their_age(self, api, headers, owner, champions, materialised):
        champions.promote(owner.tenant_id, "lead_scoring", version="5")
        champions.point(owner.tenant_id, "churn", "0" * 64)
        materialised(owner.tenant_id, NOW - dt.timedelta(hours=6))
        told = api.get("/api/v1/ml/health", headers=headers).json()
        states = {model["model"]: model["status"] for model in told["models"]}
        assert states == {"lead_scoring": "ok", "churn": "broken", "engagement": "not_trained"}
        lead = told["models"][0]
        assert (lead["version"], lead["age_days"]) == ("5", 10.35)
        assert (told["status"], told["features_stale"], told["features_age_seconds"]) == ("degraded", False, 6 * 3600)

    def test_a_promotion_that_cannot_be_loaded_is_told_though_the_old_version_speaks(
        self, api, headers, owner, champions, materialised
    ):
        def health():
            told = api.get("/api/v1/ml/health", headers=headers).json()
            return told["status"], told["models"][0]["status"], told["models"][0]["version"]

        materialised(owner.tenant_id, NOW)
        champions.promote(owner.tenant_id, "lead_scoring", version="5")
        assert health() == ("ok", "ok", "5")
        champions.point(owner.tenant_id, "lead_scoring", "0" * 64)
        assert health() == health() == ("degraded", "broken", "5")
        champions.promote(owner.tenant_id, "lead_scoring", version="6")
        assert health() == ("ok", "ok", "6")

    def test_a_tenant_without_models_is_well_and_a_stale_store_is_not(
        self, api, headers, owner, champions, materialised
    ):
        assert api.get("/api/v1/ml/health", headers=headers).json()["status"] == "ok"
        champions.promote(owner.tenant_id, "lead_scoring")
        materialised(owner.tenant_id, NOW - dt.timedelta(hours=49))
        told = api.get("/api/v1/ml/health", headers=headers).json()
        assert (told["status"], told["features_stale"]) == ("degraded", True)
        materialised(owner.tenant_id, NOW)
        assert api.get("/api/v1/ml/health", headers=headers).json()["status"] == "ok"

    def test_nobody_is_refused(self, api):
        assert api.get("/api/v1/ml/health").status_code == 401
