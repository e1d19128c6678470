"""What models said of a contact, as the tenant reads it: with interval and reasons, for as long as it is kept."""

from __future__ import annotations

import datetime as dt
import json
import uuid

import psycopg
import pyarrow as pa
import pytest

from serving.kit.database import Database
from serving.prediction.service import publish_scores

MARCH = dt.datetime(2026, 3, 1, 4, tzinfo=dt.UTC)


@pytest.fixture
def contact(api, as_admin) -> uuid.UUID:
    made = api.post("/api/v1/contacts/", json={"name": "Ada", "phone": f"+1202555{uuid.uuid4().int % 9000 + 1000}"},
                    headers=as_admin)  # fmt: skip
    assert made.status_code == 201, made.text
    return uuid.UUID(made.json()["id"])


@pytest.fixture
def publish(database, tenant, redis_url, contact):
    """Publishes one lead score of the contact at a moment; `version` "rule" has neither a file nor an interval."""
    door = Database(database.worker)

    def publish(score: float, at: dt.datetime, tier: str = "warm", version: str = "3") -> None:
        known = version != "rule"
        table = pa.table(
            {
                "contact_id": [str(contact)],
                "model": ["lead_scoring"],
                "model_version": [version],
                "score": [score],
                "probability": [score / 200],
                "tier": [tier],
                "reasons": [json.dumps({"drivers": [{"name": "orders_90d"}]})],
                "feature_snapshot_id": ["20260301T000000.000000Z"],
                "scored_at": pa.array([at], pa.timestamp("us", "UTC")),
                "digest": pa.array(["d" * 64 if known else None], pa.string()),
                "interval_low": pa.array([score / 250 if known else None], pa.float64()),
                "interval_high": pa.array([score / 160 if known else None], pa.float64()),
                "interval_level": pa.array([0.9 if known else None], pa.float64()),
            }
        )
        publish_scores(door, tenant.tenant_id, table, "lead_scoring", at, redis_url=redis_url)

    yield publish
    door.dispose()


def day(number: float) -> dt.datetime:
    return MARCH + dt.timedelta(days=number)


class TestCurrent:
    def test_tells_how_sure_and_since_when(self, api, as_admin, contact, publish):
        publish(60, day(0))
        publish(70, day(1))
        [found] = api.get(f"/api/v1/contacts/{contact}/scores", headers=as_admin).json()
        assert found == {
            "model": "lead_scoring", "model_version": "3", "digest": "d" * 64, "score": 70.0, "probability": 0.35,
            "interval": {"low": 0.28, "high": 0.4375, "level": 0.9}, "tier": "warm",
            "tier_since": "2026-03-01T04:00:00Z", "reasons": {"drivers": [{"name": "orders_90d"}]},
            "feature_snapshot_id": "20260301T000000.000000Z", "scored_at": "2026-03-02T04:00:00Z",
        }  # fmt: skip
        publish(90, day(2), tier="hot", version="rule")
        [found] = api.get(f"/api/v1/contacts/{contact}/scores", headers=as_admin).json()
        assert (found["tier_since"], found["interval"], found["digest"]) == ("2026-03-03T04:00:00Z", None, None)

    def test_of_another_tenants_contact_nothing_is_told(self, api, as_stranger, contact, publish):
        publish(60, day(0))
        for path in ("scores", "scores/history"):
            refused = api.get(f"/api/v1/contacts/{contact}/{path}", headers=as_stranger)
            assert (refused.status_code, refused.json()["type"]) == (404, "urn:rapport:problem:contact-not-found")


class TestHistory:
    def read(self, api, headers, contact, **asked):
        answer = api.get(f"/api/v1/contacts/{contact}/scores/history", params=asked, headers=headers)
        assert answer.status_code == 200, answer.text
        return [(one["scored_at"][:10], one["score"]) for one in answer.json()["items"]]

    def test_every_score_newest_first_by_model_and_time(self, api, as_admin, contact, publish):
        for number in range(3):
            publish(50 + number, day(number))
        publish(59, day(2))  # Published again for the same moment: the later one holds.
        expected = [("2026-03-03", 59.0), ("2026-03-02", 51.0), ("2026-03-01", 50.0)]
        assert self.read(api, as_admin, contact) == expected
        assert self.read(api, as_admin, contact, since=day(1).isoformat(), until=day(2).isoformat()) == expected[1:2]
        assert self.read(api, as_admin, contact, model="churn") == []

    def test_what_is_old_is_thinned_to_what_changed(self, api, as_admin, contact, publish):
        publish(50, day(0))  # the first
        publish(51, day(1))
        publish(85, day(2), tier="hot")  # another tier
        publish(86, day(3), tier="hot")
        publish(87, day(4), tier="hot", version="4")  # another model
        publish(88, day(35), tier="hot", version="4")  # the first of April
        publish(89, day(36), tier="hot", version="4")
        publish(90, day(60), tier="hot", version="4")
        kept = [score for _, score in self.read(api, as_admin, contact)]
        assert kept == [90.0, 89.0, 88.0, 87.0, 85.0, 50.0]
        publish(91, day(800), tier="hot", version="4")
        assert [score for _, score in self.read(api, as_admin, contact)] == [91.0]

    def test_erasing_the_contact_erases_it(self, api, as_admin, contact, publish, database):
        publish(60, day(0))
        assert api.delete(f"/api/v1/contacts/{contact}", headers=as_admin).status_code == 204
        with psycopg.connect(database.admin) as connection:
            left = connection.execute("SELECT count(*) FROM score_history WHERE contact_id = %s", (contact,))
            assert left.fetchone() == (0,)

    def test_the_warehouse_reads_of_a_score_what_it_always_did(self, database):
        with psycopg.connect(database.etl_read) as connection:
            connection.execute("SELECT score, probability, reasons, changed_xid FROM scores")
            seen = connection.execute(
                "SELECT attname FROM pg_attribute WHERE attrelid = 'scores'::regclass AND attnum > 0"
                " AND NOT attisdropped AND NOT has_column_privilege(attrelid, attnum, 'SELECT')"
            ).fetchall()
        hidden = {"digest", "probability_low", "probability_high", "interval_level", "tier_since"}
        assert {name for (name,) in seen} == hidden
