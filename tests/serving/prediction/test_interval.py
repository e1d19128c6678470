"""The interval beside a probability: read from the bundle's table, told alike by every way of asking."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pyarrow as pa
import pytest

NOW = dt.datetime(2026, 3, 11, tzinfo=dt.UTC)
MODELS = "/api/v1/ml/models"
ARROW = "application/vnd.apache.arrow.stream"
TABLE = {"level": 0.9, "at": [0.0, 0.2, 0.5], "low": [0.0, 0.1, 0.3], "high": [0.05, 0.4, 1.2]}
GIVEN = {"orders_total": 2, "last_order_at": "2026-03-01T00:00:00Z", "contact.gender": "f"}


def ask(api, headers, route, **body):
    answer = api.post(f"{MODELS}/{route}", headers=headers, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def ask_arrow(api, headers, **columns):
    table = pa.table(columns)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    answer = api.post(
        f"{MODELS}/lead-scoring/batch", headers=headers | {"Content-Type": ARROW}, content=bytes(sink.getvalue())
    )
    assert answer.status_code == 200, answer.text
    return pa.ipc.open_stream(answer.content).read_all()


def expected(probability):
    """By linear interpolation, and never beyond a probability's own ends."""
    ends = {end: float(np.interp(probability, TABLE["at"], TABLE[end]).clip(0, 1)) for end in ("low", "high")}
    return ends | {"level": 0.9}


def test_every_way_of_asking_tells_it(api, headers, owner, contact_id, champions):
    champions.promote(owner.tenant_id, "lead_scoring", interval=TABLE)
    one = ask(api, headers, "lead-scoring/predict", contact_id=contact_id)
    wanted = pytest.approx(expected(one["probability"]))
    assert one["interval"] == wanted
    assert one["interval"]["low"] < one["probability"] < one["interval"]["high"]
    assert ask(api, headers, "lead-scoring/predict", contact_id=contact_id, explain=True)["interval"] == wanted
    for body in ({"contact_ids": [contact_id]}, {"rows": [GIVEN]}):
        assert ask(api, headers, "lead-scoring/batch", **body)["predictions"][0]["interval"] == wanted
    given = {name: pa.array([value]) for name, value in GIVEN.items()}
    given["last_order_at"] = pa.array([dt.datetime.fromisoformat(GIVEN["last_order_at"])], pa.timestamp("us", "UTC"))
    for table in (ask_arrow(api, headers, contact_id=[contact_id]), ask_arrow(api, headers, **given)):
        (row,) = table.select(["interval_low", "interval_high"]).to_pylist()
        assert row == pytest.approx({"interval_low": one["interval"]["low"], "interval_high": one["interval"]["high"]})
        assert table.schema.metadata[b"interval_level"] == b"0.9"


def test_both_ways_of_one_request_tell_it_alike(api, headers, owner, contact_id, champions):
    champions.promote(owner.tenant_id, "churn", interval=TABLE)
    route, body = f"{MODELS}/churn-prediction/predict", f'{{"contact_id": "{contact_id}"}}'
    told = [
        api.post(route, headers=headers | {"Content-Type": kind}, content=body).json()
        for kind in ("application/json", "application/json; charset=utf-8")
    ]
    assert told[0] == told[1]
    assert told[0]["interval"]["level"] == 0.9


def test_advice_tells_it(api, headers, owner, contact_id, champions):
    champions.promote(owner.tenant_id, "churn", interval=TABLE)
    route = f"{MODELS}/churn-prediction/recommendations"
    told = api.get(route, headers=headers, params={"contact_id": contact_id}).json()
    assert told["interval"] == pytest.approx(expected(told["probability"]))


def test_a_bundle_without_one_tells_none(api, headers, owner, contact_id, champions):
    champions.promote(owner.tenant_id, "lead_scoring")
    assert ask(api, headers, "lead-scoring/predict", contact_id=contact_id)["interval"] is None
    assert ask(api, headers, "lead-scoring/batch", rows=[GIVEN])["predictions"][0]["interval"] is None
    table = ask_arrow(api, headers, contact_id=[contact_id])
    assert table["interval_low"].to_pylist() == table["interval_high"].to_pylist() == [None]
    assert b"interval_level" not in table.schema.metadata


@pytest.mark.parametrize(
    "broken",
    [
        {"at": [0.5, 0.2, 0.0]},
        {"low": [0.0, 0.1]},
        {"high": [0.05, None, 1.0]},
        {"low": [0.9, 0.9, 0.9]},
        {"at": [], "low": [], "high": []},
        {"level": "most"},
    ],
)
def test_a_table_that_is_none_makes_the_bundle_broken(api, headers, owner, contact_id, champions, broken):
    champions.promote(owner.tenant_id, "lead_scoring", interval=TABLE | broken)
    body = {"contact_id": contact_id}
    answer = api.post(f"{MODELS}/lead-scoring/predict", headers=headers, json=body)
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:rapport:problem:bundle-broken")


def test_openapi_describes_it(api):
    described = api.get("/openapi.json").json()["components"]["schemas"]
    for name in ("PredictionRead", "GivenPredictionRead", "RecommendationsRead"):
        interval, nothing = described[name]["properties"]["interval"]["anyOf"]
        assert set(described[interval["$ref"].rsplit("/", 1)[1]]["properties"]) == {"low", "high", "level"}
        assert nothing == {"type": "null"}
