"""What is wrong with a question is told by field, whichever model is asked; a score is never made from nothing."""

from __future__ import annotations

import datetime as dt
import json
import uuid

import pyarrow as pa
import pytest
from fastapi.testclient import TestClient

from serving.app import create_app

ORDERED_AT = 1_772_323_200_000_000
NOW = dt.datetime(2026, 3, 11, tzinfo=dt.UTC)
MODELS = {"lead-scoring": "lead_scoring", "churn-prediction": "churn", "engagement-prediction": "engagement"}
BASE = "/api/v1/ml/models"
BATCH = f"{BASE}/lead-scoring/batch"
ARROW = "application/vnd.apache.arrow.stream"
ANYONE = str(uuid.UUID(int=1))
GIVEN = {"orders_total": 2, "last_order_at": None, "contact.gender": "f"}
KNOWN = GIVEN | {"last_order_at": "2026-03-01T00:00:00Z"}


@pytest.fixture(scope="module")
def served(api, make_tenant, champions, online):
    """A tenant with every model, and a contact with features: (the tenant, the contact's id)."""
    owner = make_tenant()
    contact = api.post("/api/v1/contacts/", headers={"X-API-Key": owner.api_key}, json={"phone": "+999410000001"})
    contact_id = contact.json()["id"]
    for model in MODELS.values():
        champions.promote(owner.tenant_id, model)
    online(owner.tenant_id, contact_id, {"gender": "f"}, ORDERED_AT, orders_total=2)
    return owner, contact_id


@pytest.fixture
def headers(served, clock):
    clock.now = NOW
    return {"X-API-Key": served[0].api_key}


def refused(answer, status=422):
    """The fields named by a problem document."""
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    told = answer.json()
    assert told["status"] == status
    assert "probability" not in answer.text
    return {error["field"] for error in told.get("errors", [])}


def send(api, headers, path, body):
    content = body if isinstance(body, str) else json.dumps(body)
    return api.post(path, headers=headers | {"Content-Type": "application/json"}, content=content)


@pytest.mark.parametrize("route", [f"{name}/predict" for name in MODELS] + ["engagement-prediction/optimal-time"])
class TestOneContact:
    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({}, "contact_id"),
            ({"contact_id": None}, "contact_id"),
            ({"contact_id": 7}, "contact_id"),
            ({"contact_id": ["x"]}, "contact_id"),
            ({"contact_id": "nobody"}, "contact_id"),
            ({"contact_id": ANYONE, "campaign_id": "x"}, "campaign_id"),
            ({"contact_id": ANYONE, "campaign_attributes": [1]}, "campaign_attributes"),
            (f'{{"contact_id": "{ANYONE}", "campaign_attributes": {{"reward": NaN}}}}', "campaign_attributes"),
            ({"contact_id": ANYONE, "campaign_attributes": {"reward": 1e13}}, "campaign_attributes"),
            ({"contact_id": ANYONE, "campaign_attributes": dict.fromkeys(map(str, range(101)), 1)},
             "campaign_attributes"),
            ({"contact_id": ANYONE, "campaign_attributes": {"\ud800": 1e13}}, "campaign_attributes"),
            ({"contact_id": ANYONE, "score": 100}, "score"),
        ],
    )  # fmt: skip
    def test_a_wrong_body_is_told_by_its_field(self, api, headers, route, body, field):
        assert refused(send(api, headers, f"{BASE}/{route}", body)) == {field}

    @pytest.mark.parametrize("body", ["", "{", "[]", '"x"', "\x00", "null"])
    def test_what_is_no_object_is_refused(self, api, headers, route, body):
        refused(send(api, headers, f"{BASE}/{route}", body))

    def test_strangers_and_the_unknown_are_not_found(self, api, headers, route, served, make_tenant, champions):
        assert send(api, headers, f"{BASE}/{route}", {"contact_id": ANYONE}).status_code == 404
        other = make_tenant()
        for model in MODELS.values():
            champions.promote(other.tenant_id, model)
        theirs = {"X-API-Key": other.api_key}
        refused(send(api, theirs, f"{BASE}/{route}", {"contact_id": served[1]}), 404)
        refused(send(api, headers, f"{BASE}/{route}", {"contact_id": served[1], "campaign_id": ANYONE}), 404)

    @pytest.mark.parametrize("value", ["two", "2", [2], {"is": 2}, True])
    def test_an_attribute_that_the_model_cannot_read_is_told(self, api, headers, route, served, value):
        body = {"contact_id": served[1], "campaign_attributes": {"reward": value, "note": "not for the model"}}
        assert refused(send(api, headers, f"{BASE}/{route}", body)) == {"campaign_attributes.reward"}

    def test_without_a_champion_there_is_no_score(self, api, headers, route, make_tenant, online):
        other, contact_id = make_tenant(), str(uuid.uuid4())
        online(other.tenant_id, contact_id, {}, ORDERED_AT, orders_total=2)
        answer = send(api, {"X-API-Key": other.api_key}, f"{BASE}/{route}", {"contact_id": contact_id})
        refused(answer, 409)
        assert answer.json()["type"] == "urn:rapport:problem:model-not-trained"

    def test_features_too_old_give_no_score(self, api, headers, route, served, clock):
        clock.advance(days=30)
        answer = send(api, headers, f"{BASE}/{route}", {"contact_id": served[1]})
        refused(answer, 409)
        assert answer.json()["type"] == "urn:rapport:problem:features-expired"

    def test_nobody_is_refused(self, api, route, served):
        refused(send(api, {}, f"{BASE}/{route}", {"contact_id": served[1]}), 401)


@pytest.mark.parametrize("route", [f"{BASE}/lead-scoring/predict", BATCH, "/api/v1/ml/health"])
def test_without_redis_every_route_says_that_it_cannot_answer_now(settings, served, token_headers, route):
    told = settings.model_copy(update={"redis_url": "redis://127.0.0.1:1"})
    for who in ({"X-API-Key": served[0].api_key}, token_headers(served[0].user_id, served[0].tenant_id)):
        with TestClient(create_app(told), raise_server_exceptions=False) as api:
            body = {"contact_ids": [served[1]]} if route == BATCH else {"contact_id": served[1]}
            answer = api.get(route, headers=who) if "health" in route else send(api, who, route, body)
        refused(answer, 503)
        assert answer.json()["type"] == "urn:rapport:problem:unavailable"
        assert answer.headers["retry-after"] == "1"


class TestBatch:
    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({"contact_ids": []}, "contact_ids"),
            ({"contact_ids": ["x"]}, "contact_ids.0"),
            ({"contact_ids": {"a": 1}}, "contact_ids"),
            ({"contact_ids": [ANYONE] * 1_001}, "contact_ids"),
            ({"rows": [1]}, "rows.0"),
            ({"rows": "x"}, "rows"),
            ({"columns": {"orders_total": 1}}, "columns.orders_total"),
            ({"columns": {"orders_total": []}}, "columns.orders_total"),
            ({"columns": {"orders_total": [1] * 1_001}}, "columns.orders_total"),
            ({"contact_ids": [ANYONE], "model": "churn"}, "model"),
            ({"columns": {str(name): [1] for name in range(257)}}, "columns"),
            ({"columns": {"x" * 201: [1]}}, "x" * 200),
            ({"columns": {"x" * 201: 1}}, "columns"),
            ({"rows": [GIVEN, {str(name): 1 for name in range(257)}]}, "rows.1"),
            ({"rows": [GIVEN | {"x" * 1_000: 1}]}, "x" * 200),
            ({str(name): 1 for name in range(257)}, "body"),
            ({"contact_ids": [ANYONE], "x" * 201: 1}, "body"),
            # So large that the event loop reads it no more.
            ({"contact_ids": ["x" * 20_000] * 30}, "contact_ids.0"),
            ({"columns": {"contact.gender": [{"a": [1] * 290}] * 1_000}}, "body"),
            ({"columns": {name: [GIVEN[name]] for name in GIVEN}, "\0": 1}, "\0"),
            ({"columns": {name: [GIVEN[name]] for name in GIVEN} | {"shoe\0size": [1]}}, "shoe\0size"),
            ({"columns": {name: [GIVEN[name]] for name in GIVEN} | {"orders_total\0": [1]}}, "orders_total\0"),
        ],
    )
    def test_a_wrong_body_is_told_by_its_field(self, api, headers, body, field):
        assert field in refused(send(api, headers, BATCH, body))

    @pytest.mark.parametrize("odd", ["NaN", "1" + "0" * 400])
    def test_a_large_body_is_read_as_a_small_one_is(self, api, headers, odd):
        body = json.dumps({"rows": [KNOWN | {"contact.gender": "x" * 600}] * 999 + [KNOWN | {"orders_total": "odd"}]})
        answer = send(api, headers, BATCH, body.replace('"odd"', odd))
        assert answer.json()["errors"] == [
            {
                "field": "orders_total",
                "row": 999,
                "message": "is not a number between -1e12 and 1e12",
                "code": "finite_number",
            }
        ]
        assert refused(send(api, headers, BATCH, body[:-1])) == {"body"}
        fine = send(api, headers, BATCH, body.replace('"odd"', "2"))
        assert len(fine.json()["predictions"]) == 1_000

    @pytest.mark.parametrize(
        ("content_type", "status"),
        [("application/json; charset=utf-8", 200), ("application/json; version=1", 422), ("text/plain", 422)],
    )
    def test_a_large_body_must_be_declared_as_json(self, api, headers, content_type, status):
        body = json.dumps({"rows": [KNOWN | {"contact.gender": "x" * 70_000}]})
        answer = api.post(BATCH, headers=headers | {"Content-Type": content_type}, content=body)
        assert answer.status_code == status

    def test_strangers_contacts_have_no_score(self, api, served, make_tenant, champions):
        other = make_tenant()
        champions.promote(other.tenant_id, "lead_scoring")
        told = send(api, {"X-API-Key": other.api_key}, BATCH, {"contact_ids": [served[1]]}).json()
        assert told == {
            "predictions": [], "not_predicted": [{"contact_id": served[1], "reason": "contact_not_found"}],
        }  # fmt: skip

    @pytest.mark.parametrize(
        "who", [{"contact_ids": [ANYONE]}, {"rows": [GIVEN]}, {"columns": {name: [GIVEN[name]] for name in GIVEN}}]
    )
    def test_an_attribute_that_the_model_cannot_read_is_told(self, api, headers, served, who):
        body = who | {"campaign_attributes": {"reward": "two"}}
        assert refused(send(api, headers, BATCH, body)) == {"campaign_attributes.reward"}

    def test_an_arrow_stream_may_be_as_wrong(self, api, headers, served):
        sink = pa.BufferOutputStream()
        table = pa.table({"contact_id": pa.array([1.5])})
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        as_arrow = headers | {"Content-Type": ARROW}
        assert refused(api.post(BATCH, headers=as_arrow, content=bytes(sink.getvalue()))) == {"contact_id"}
        assert refused(api.post(BATCH, headers=as_arrow, content=b"")) == {"body"}
        refused(api.post(BATCH, headers={"Content-Type": ARROW}, content=b""), 401)

    def test_a_huge_body_is_refused_unread(self, api, headers, settings):
        refused(send(api, headers, BATCH, " " * (settings.max_body_bytes + 1)), 413)

    @pytest.mark.parametrize(
        ("route", "most"),
        [
            (BATCH, 4_000_000),
            (f"{BASE}/churn-prediction/predict", 64_000),
            (f"{BASE}/engagement-prediction/optimal-time", 64_000),
        ],
    )
    def test_a_body_that_no_question_needs_is_refused_unparsed(self, api, headers, route, most):
        answer = send(api, headers, route, " " * (most + 1))
        assert refused(answer, 413) == set()
        assert answer.json()["detail"] == f"at most {most:,} bytes"
        refused(send(api, headers, route, " " * most))
