from __future__ import annotations

import datetime as dt
import hashlib
import uuid
from collections import Counter

import psycopg
import pytest

from serving.campaign.plan import plan_campaign
from serving.consent.suppression import phone_hmac
from serving.kit.database import Database

PATH = "/api/v1/campaigns"


@pytest.fixture(scope="module")
def opened(database):
    held = Database(database.app)
    yield held
    held.dispose()


@pytest.fixture
def audience(database, tenant, settings):
    """A segment of 200 who may be written to, and one each of those who may not; the number to send from."""
    tenant_id, segment_id = tenant.tenant_id, uuid.uuid4()
    with psycopg.connect(database.admin) as connection:
        if not connection.execute("SELECT 1 FROM phone_numbers WHERE tenant_id = %s", (tenant_id,)).fetchone():
            database.add_number(tenant_id, uuid.uuid4().hex[:12])
        connection.execute(
            "INSERT INTO segments (tenant_id, id, name, kind) VALUES (%s, %s, %s, 'static')",
            (tenant_id, segment_id, str(segment_id)),
        )
        people = [("active", "opted_in", True)] * 200 + [
            ("active", None, True), ("active", "opted_out", True), ("unreachable", "opted_in", True),
            ("active", "opted_in", False), ("active", "opted_in", True),
        ]  # fmt: skip
        for index, (status, consent, has_phone) in enumerate(people):
            contact_id = uuid.uuid4()
            phone = f"+999{contact_id.int % 10**12:012d}" if has_phone else None
            connection.execute(
                "INSERT INTO contacts (tenant_id, id, phone, status, name) VALUES (%s, %s, %s, %s, 'Ada')",
                (tenant_id, contact_id, phone, status),
            )
            if consent:
                connection.execute(
                    "INSERT INTO consents (tenant_id, contact_id, status, effective_at, source) VALUES (%s, %s, %s,"
                    " now(), 'test')",
                    (tenant_id, contact_id, consent),
                )
            if index == len(people) - 1:
                hmac = phone_hmac(phone, settings.phone_hmac_key.get_secret_value())
                connection.execute(
                    "INSERT INTO unsubscribers (tenant_id, phone_hmac, reason, date) VALUES (%s, %s, 'test', now())",
                    (tenant_id, hmac),
                )
            connection.execute(
                "INSERT INTO segment_members (tenant_id, segment_id, contact_id) VALUES (%s, %s, %s)",
                (tenant_id, segment_id, contact_id),
            )
    return segment_id


@pytest.fixture
def campaign(api, as_admin, audience):
    body = {
        "name": "Autumn", "message_template": "Hi {{name}}", "template_name": "hello", "segment_id": str(audience),
        "holdout_rate": 0.25, "attributes": {"offer_type": "discount", "discount_rate": 0.2, "channels": ["whatsapp"]},
    }  # fmt: skip
    answer = api.post(f"{PATH}/", json=body, headers=as_admin)
    assert answer.status_code == 201, answer.text
    return answer.json()


class TestStart:
    def test_everybody_gets_a_decision_and_the_eligible_a_message(self, api, as_admin, campaign, database):
        answer = api.post(f"{PATH}/{campaign['id']}/start", headers=as_admin)
        assert answer.status_code == 200, answer.text
        plan = answer.json()["plan"]
        assert plan["suppressed"] == {
            "no_consent": 1, "opted_out": 1, "unreachable": 1, "no_phone": 1, "unsubscribed": 1
        }  # fmt: skip
        assert plan["eligible"] == 200 == plan["queued"] + plan["held_out"]
        assert 30 <= plan["held_out"] <= 70
        with psycopg.connect(database.admin) as connection:
            decided = connection.execute(
                "SELECT outcome, assignment_probability, contact_id, (SELECT payload ->> 'text' FROM"
                " outbound_messages o"
                " WHERE o.id = d.outbound_message_id) FROM decisions d WHERE campaign_id = %s", (campaign["id"],)
            ).fetchall()  # fmt: skip
        assert Counter(row[0] for row in decided) == {
            "send": plan["queued"],
            "hold_out": plan["held_out"],
            "suppress": 5,
        }
        assert {row[:2] for row in decided} == {("send", 0.75), ("hold_out", 0.25), ("suppress", None)}
        assert {row[3] for row in decided if row[0] == "send"} == {"Hi Ada"}
        for outcome, _, contact_id, _ in decided:
            if outcome != "suppress":
                digest = hashlib.sha256(f"{campaign['id']}:{campaign['id']}:{contact_id}".encode()).hexdigest()
                assert (int(digest[:8], 16) / 2**32 < 0.25) == (outcome == "hold_out")

    def test_planning_again_decides_nobody_twice(self, api, as_admin, campaign, opened, tenant, settings):
        api.post(f"{PATH}/{campaign['id']}/start", headers=as_admin)
        with opened.tenant(tenant.tenant_id) as session:
            plan = plan_campaign(
                session, uuid.UUID(campaign["id"]), dt.datetime.now(dt.UTC), "any", configured=settings
            )
        assert (plan.eligible, plan.suppressed) == (0, {})

    def test_twice_is_a_conflict(self, api, as_admin, campaign):
        assert api.post(f"{PATH}/{campaign['id']}/start", headers=as_admin).status_code == 200
        answer = api.post(f"{PATH}/{campaign['id']}/start", headers=as_admin)
        assert (answer.status_code, answer.json()["status_now"]) == (409, "running")

    def test_without_a_segment_is_a_conflict(self, api, as_admin):
        made = api.post(f"{PATH}/", json={"name": "Nobody", "message_template": "Hi"}, headers=as_admin).json()
        assert api.post(f"{PATH}/{made['id']}/start", headers=as_admin).status_code == 409

    def test_a_strangers_campaign_is_not_there(self, api, as_stranger, campaign):
        for method, path in (("get", ""), ("post", "/start"), ("post", "/stop"), ("get", "/stats"), ("delete", "")):
            assert getattr(api, method)(f"{PATH}/{campaign['id']}{path}", headers=as_stranger).status_code == 404


class TestLife:
    def test_pause_resume_stop(self, api, as_admin, campaign, database):
        url = f"{PATH}/{campaign['id']}"
        queued = api.post(f"{url}/start", headers=as_admin).json()["plan"]["queued"]
        assert api.post(f"{url}/pause", headers=as_admin).json()["status"] == "paused"
        assert api.post(f"{url}/resume", headers=as_admin).json()["status"] == "running"
        assert api.post(f"{url}/stop", headers=as_admin).json()["status"] == "stopped"
        stats = api.get(f"{url}/stats", headers=as_admin).json()
        assert stats["states"] == {"suppressed": queued}
        assert stats["suppressed"]["campaign_stopped"] == queued
        assert api.post(f"{url}/resume", headers=as_admin).status_code == 409

    def test_a_schedule_queues_for_later_and_start_moves_it_to_now(self, api, as_admin, campaign, database):
        url, later = f"{PATH}/{campaign['id']}", dt.datetime.now(dt.UTC) + dt.timedelta(days=2)
        assert (
            api.post(f"{url}/schedule", json={"start_date": later.isoformat()}, headers=as_admin).json()["status"]
            == "scheduled"
        )
        due = "SELECT min(due_at), max(due_at) FROM outbound_messages WHERE campaign_id = %s"
        with psycopg.connect(database.admin) as connection:
            assert connection.execute(due, (campaign["id"],)).fetchone() == (later, later)
        assert api.post(f"{url}/start", headers=as_admin).status_code == 200
        with psycopg.connect(database.admin) as connection:
            assert connection.execute(due, (campaign["id"],)).fetchone()[1] < later

    def test_update_delete_duplicate_and_filter(self, api, as_admin, campaign):
        url = f"{PATH}/{campaign['id']}"
        assert api.put(url, json={"name": "Winter"}, headers=as_admin).json()["name"] == "Winter"
        copy = api.post(f"{PATH}/duplicate", json={"campaign_id": campaign["id"]}, headers=as_admin).json()
        assert (copy["name"], copy["status"], copy["attributes"]) == ("Winter (copy)", "draft", campaign["attributes"])
        found = api.get(f"{PATH}/filter", params={"name": "winter (c"}, headers=as_admin).json()
        assert [item["id"] for item in found["items"]] == [copy["id"]]
        assert api.delete(f"{PATH}/{copy['id']}", headers=as_admin).status_code == 204
        api.post(f"{url}/start", headers=as_admin)
        assert api.put(url, json={"holdout_rate": 0.5}, headers=as_admin).status_code == 409
        assert api.delete(url, headers=as_admin).status_code == 409
        templates = api.get(f"{PATH}/templates", headers=as_admin).json()
        assert templates[0]["template_name"] == "hello"

    @pytest.mark.parametrize(
        "field",
        [
            {"tenant_id": str(uuid.uuid4())},
            {"status": "running"},
            {"holdout_rate": 1.0},
            {"segment_id": str(uuid.uuid4())},
        ],
    )
    def test_what_a_body_may_not_say_is_a_422(self, api, as_admin, field):
        body = {"name": "X", "message_template": "Hi"} | field
        assert api.post(f"{PATH}/", json=body, headers=as_admin).status_code == 422
