from __future__ import annotations

import datetime as dt
import itertools
import json
import math
import uuid

import psycopg
import pytest

from tests.serving.prediction.conftest import ORDERED_AT

NOW = dt.datetime(2026, 3, 11, tzinfo=dt.UTC)
MODELS = {"lead-scoring": "lead_scoring", "churn-prediction": "churn", "engagement-prediction": "engagement"}
_numbers = itertools.count(1)


def calibrated(logit):
    """What the test's bundle gives for this logit: its calibration halves the probability."""
    return 0.5 / (1 + math.exp(-logit))


def predict(api, headers, contact_id, route="lead-scoring", **body):
    return api.post(f"/api/v1/ml/models/{route}/predict", headers=headers, json={"contact_id": str(contact_id)} | body)


class TestPredict:
    @pytest.mark.parametrize(("route", "model"), MODELS.items())
    def test_answers_with_the_champions_probability(self, api, headers, owner, contact_id, champions, route, model):
        champions.promote(owner.tenant_id, model, version="7")
        answer = predict(api, headers, contact_id, route)
        assert answer.status_code == 200
        expected = calibrated(0.5 * 2 - 0.1 * 10 + 1.0 + 0.25 * 2)
        body = answer.json()
        assert body["probability"] == pytest.approx(expected, abs=1e-6)
        # The reference quantiles of the lead bundle are 0, 0.005, ... 0.5: the percentile is 200 times the probability.
        assert body["score"] == pytest.approx((200 if model == "lead_scoring" else 100) * expected, abs=0.01)
        assert body["tier"] == ("hot" if model == "lead_scoring" else "cold")
        assert (body["model"], body["model_version"]) == (model, "7")
        assert body["feature_snapshot_id"] == "20260310T000000.000000Z"

    def test_the_campaign_asked_about_counts(self, api, headers, owner, contact_id, champions, database):
        champions.promote(owner.tenant_id, "lead_scoring")
        with psycopg.connect(database.admin) as connection:
            campaign = connection.execute(
                "INSERT INTO campaigns (tenant_id, name, message_template, attributes)"
                " VALUES (%s, 'c', 'hi', %s) RETURNING id",
                (owner.tenant_id, json.dumps({"reward": 0})),
            ).fetchone()[0]
        stored = predict(api, headers, contact_id, campaign_id=str(campaign)).json()
        assert stored["probability"] == pytest.approx(calibrated(1.0), abs=1e-6)
        given = predict(api, headers, contact_id, campaign_attributes={"reward": 4}).json()
        assert given["probability"] == pytest.approx(calibrated(2.0), abs=1e-6)

    def test_a_strangers_campaign_is_not_found(self, api, headers, owner, contact_id, champions, database, stranger):
        champions.promote(owner.tenant_id, "lead_scoring")
        with psycopg.connect(database.admin) as connection:
            campaign = connection.execute(
                "INSERT INTO campaigns (tenant_id, name, message_template) VALUES (%s, 'c', 'hi') RETURNING id",
                (stranger.tenant_id,),
            ).fetchone()[0]
        assert predict(api, headers, contact_id, campaign_id=str(campaign)).status_code == 404

    def test_without_a_champion_there_is_no_score(self, api, headers, contact_id):
        answer = predict(api, headers, contact_id)
        assert (answer.status_code, answer.json()["type"]) == (409, "urn:rapport:problem:model-not-trained")

    def test_an_unknown_contact_gets_no_score(self, api, headers, owner, champions):
        champions.promote(owner.tenant_id, "lead_scoring")
        assert predict(api, headers, uuid.uuid4()).status_code == 404

    def test_a_contact_without_features_gets_no_score(self, api, headers, owner, champions):
        champions.promote(owner.tenant_id, "lead_scoring")
        body = {"phone": f"+999401{next(_numbers):06d}"}
        contact_id = api.post("/api/v1/contacts/", headers=headers, json=body).json()["id"]
        answer = predict(api, headers, contact_id)
        assert (answer.status_code, answer.json()["type"]) == (409, "urn:rapport:problem:features-missing")

    def test_another_tenants_contact_is_unknown(self, api, as_stranger, stranger, contact_id, champions):
        champions.promote(stranger.tenant_id, "lead_scoring")
        assert predict(api, as_stranger, contact_id).status_code == 404

    @pytest.mark.parametrize("value", ["NaN", "Infinity", "1e400", "1" + "0" * 400])
    def test_a_number_no_model_can_use_is_refused(self, api, headers, owner, contact_id, champions, value):
        champions.promote(owner.tenant_id, "lead_scoring")
        body = f'{{"contact_id": "{contact_id}", "campaign_attributes": {{"reward": {value}}}}}'
        refused = api.post(
            "/api/v1/ml/models/lead-scoring/predict",
            content=body,
            headers=headers | {"Content-Type": "application/json"},
        )
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "campaign_attributes")

    def test_a_body_cannot_name_the_tenant(self, api, headers, owner, contact_id):
        assert predict(api, headers, contact_id, tenant_id=str(owner.tenant_id)).status_code == 422


class TestLean:
    """A plain request is answered before the router sees it; the same request with a charset goes through FastAPI."""

    def both(self, api, headers, body, route="lead-scoring/predict"):
        answers = [
            api.post(f"/api/v1/ml/models/{route}", headers=headers | {"Content-Type": kind}, content=body)
            for kind in ("application/json", "application/json; charset=utf-8")
        ]
        told = [answer.json() for answer in answers]
        for each in told:
            each.pop("request_id", None)
        assert told[0] == told[1]
        assert answers[0].status_code == answers[1].status_code
        assert answers[0].headers["content-type"] == answers[1].headers["content-type"]
        assert all(answer.headers["x-request-id"] for answer in answers)
        return answers[0]

    def test_both_ways_answer_alike(self, api, headers, owner, contact_id, champions, as_stranger):
        body = json.dumps({"contact_id": contact_id})
        assert self.both(api, headers, body).status_code == 409
        champions.promote(owner.tenant_id, "lead_scoring")
        assert self.both(api, headers, body).status_code == 200
        assert self.both(api, headers, json.dumps({"contact_id": contact_id, "explain": True})).status_code == 200
        assert (
            self.both(api, headers, json.dumps({"contact_ids": [contact_id]}), "lead-scoring/batch").status_code == 200
        )
        assert self.both(api, headers, json.dumps({"contact_id": str(uuid.uuid4())})).status_code == 404
        assert self.both(api, headers, json.dumps({"contact_id": "x"})).status_code == 422
        assert self.both(api, headers, "{").status_code == 422
        assert self.both(api, headers, "").status_code == 422
        assert self.both(api, {}, body).status_code == 401
        assert self.both(api, {"X-API-Key": "rp_nobody"}, body).status_code == 401
        assert self.both(api, headers | {"X-Tenant": "another"}, body).status_code == 404

    def test_both_ways_tell_the_age_of_features_alike(self, api, headers, contact_id, owner, champions, clock):
        champions.promote(owner.tenant_id, "lead_scoring")
        body = json.dumps({"contact_id": contact_id})
        told = []
        for hours in (0, 25, 7 * 24):
            clock.advance(hours=hours)
            answer = self.both(api, headers, body).json()
            told.append((answer.get("features_stale"), answer.get("type")))
        assert told == [(False, None), (True, None), (None, "urn:rapport:problem:features-expired")]

    def test_both_ways_keep_to_a_keys_limit(self, api, headers, owner, contact_id, champions, database, clock):
        champions.promote(owner.tenant_id, "lead_scoring")
        with psycopg.connect(database.admin) as connection:
            connection.execute("UPDATE api_keys SET rate_limit = 2 WHERE tenant_id = %s", (owner.tenant_id,))
        clock.advance(minutes=2)
        body = json.dumps({"contact_id": contact_id})
        assert self.both(api, headers, body).status_code == 200
        refused = self.both(api, headers, body)
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "60")
        assert refused.json()["type"] == "urn:rapport:problem:too-many-requests"

    def test_another_method_is_not_allowed(self, api, headers):
        assert api.get("/api/v1/ml/models/lead-scoring/predict", headers=headers).status_code == 405

    def test_a_revoked_key_is_refused_within_a_minute(
        self, api, headers, owner, contact_id, champions, database, clock
    ):
        champions.promote(owner.tenant_id, "lead_scoring")
        assert predict(api, headers, contact_id).status_code == 200
        with psycopg.connect(database.admin) as connection:
            connection.execute("UPDATE api_keys SET revoked_at = now() WHERE tenant_id = %s", (owner.tenant_id,))
        clock.advance(seconds=60)
        assert predict(api, headers, contact_id).status_code == 401

    def test_calls_are_counted_for_usage(self, api, headers, owner, contact_id, champions):
        champions.promote(owner.tenant_id, "lead_scoring")
        counted = []
        usage, count = api.app.state.usage, api.app.state.usage.count
        usage.count = lambda tenant_id, now: (counted.append(tenant_id), count(tenant_id, now))
        try:
            predict(api, headers, contact_id)
        finally:
            del usage.count
        assert counted == [owner.tenant_id]


class TestHotSwap:
    def test_a_promotion_shows_at_once_and_a_rollback_too(self, api, headers, owner, contact_id, champions):
        first = champions.promote(owner.tenant_id, "lead_scoring", version="1")
        before = predict(api, headers, contact_id).json()
        champions.promote(owner.tenant_id, "lead_scoring", version="2", bias=-3.0)
        after = predict(api, headers, contact_id).json()
        assert (before["model_version"], after["model_version"]) == ("1", "2")
        assert after["probability"] < before["probability"]
        champions.point(owner.tenant_id, "lead_scoring", first.name)
        assert predict(api, headers, contact_id).json() == before

    def test_a_broken_promotion_leaves_the_old_champion_serving(self, api, headers, owner, contact_id, champions):
        champions.promote(owner.tenant_id, "lead_scoring", version="1")
        before = predict(api, headers, contact_id).json()
        champions.point(owner.tenant_id, "lead_scoring", "0" * 64)
        assert predict(api, headers, contact_id).json() == before


class TestBrokenBundle:
    def refused(self, api, headers, contact_id):
        answer = predict(api, headers, contact_id)
        return (answer.status_code, answer.json()["type"]) == (503, "urn:rapport:problem:bundle-broken")

    def test_inputs_of_another_type_than_ours_are_refused(self, api, headers, owner, contact_id, champions):
        champions.promote(owner.tenant_id, "lead_scoring", dtype="float64")
        assert self.refused(api, headers, contact_id)

    @pytest.mark.parametrize("name", ["model.onnx", "manifest.json"])
    def test_a_changed_file_is_refused(self, api, headers, owner, contact_id, champions, name):
        folder = champions.promote(owner.tenant_id, "lead_scoring")
        content = (folder / name).read_bytes()
        changed = content.replace(b'"version": "1"', b'"version": "9"') if name == "manifest.json" else content + b"x"
        (folder / name).write_bytes(changed)
        assert self.refused(api, headers, contact_id)

    def test_another_tenants_bundle_is_refused(self, api, headers, owner, contact_id, champions, stranger):
        champions.promote(owner.tenant_id, "lead_scoring", tenant_id=str(stranger.tenant_id))
        assert self.refused(api, headers, contact_id)

    def test_a_graph_that_gives_no_number_gives_no_score(self, api, headers, owner, champions, contact_id, online):
        champions.promote(owner.tenant_id, "lead_scoring")
        # This graph cannot do without the moment of the last order.
        online(owner.tenant_id, contact_id, orders_total=2)
        assert self.refused(api, headers, contact_id)

    @pytest.mark.parametrize("digest", ["../../other", "", "A" * 64, None])
    def test_a_pointer_that_is_no_digest_is_refused(self, api, headers, owner, contact_id, champions, digest):
        champions.point(owner.tenant_id, "lead_scoring", digest)
        assert self.refused(api, headers, contact_id)


class TestBatch:
    def test_every_contact_is_predicted_or_told_why_not(self, api, headers, owner, contact_id, champions, online):
        champions.promote(owner.tenant_id, "lead_scoring")
        others = [str(uuid.uuid4()) for _ in range(100)]
        for position, other in enumerate(others):
            online(owner.tenant_id, other, last_order_at=ORDERED_AT, orders_total=position % 7)
        body = {"phone": f"+999401{next(_numbers):06d}"}
        silent = api.post("/api/v1/contacts/", headers=headers, json=body).json()["id"]
        unknown = str(uuid.uuid4())
        asked = [contact_id, unknown, *others, silent]
        answer = api.post("/api/v1/ml/models/lead-scoring/batch", headers=headers, json={"contact_ids": asked}).json()
        assert [row["contact_id"] for row in answer["predictions"]] == [contact_id, *others]
        assert answer["predictions"][0] == predict(api, headers, contact_id).json()
        assert answer["not_predicted"] == [
            {"contact_id": unknown, "reason": "contact_not_found"},
            {"contact_id": silent, "reason": "features_missing"},
        ]
