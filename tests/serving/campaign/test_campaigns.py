from __future__ import annotations

import datetime as dt
import hashlib
import uuid
from collections import Counter

import psycopg
import pytest

from serving.campaign.plan import plan_campaign
from serving.kit.database import Database

PATH = "/api/v1/campaigns"


@pytest.fixture(scope="module")
def opened(database):
    held = Database(database.app)
    yield held
    held.dispose()


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

    def test_without_a_segment_is_a_conflict(self, api, as_admin, number_id):
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
            {"start_date": "0001-01-01T00:00:00Z"},
            {"end_date": "9999-12-31T23:59:59Z"},
            {"type": "drip"},
            {"type": "nurture"},
            {"type": "followup"},
            {"segment_id": str(uuid.uuid4())},
        ],
    )
    def test_what_a_body_may_not_say_is_a_422(self, api, as_admin, field):
        body = {"name": "X", "message_template": "Hi"} | field
        assert api.post(f"{PATH}/", json=body, headers=as_admin).status_code == 422
