"""A scheduled campaign is planned when it starts: it goes to the people, in the words, that hold then."""

from __future__ import annotations

import datetime as dt
import threading
import uuid

import psycopg
import pytest

from serving.campaign.start import start_due
from serving.kit.clock import utc_now
from serving.kit.database import Database
from serving.worker.tasks import tenants_with_work

PATH = "/api/v1/campaigns"
LATER = dt.timedelta(days=2)


@pytest.fixture(scope="module")
def worker(database):
    opened = Database(database.worker)
    yield opened
    opened.dispose()


@pytest.fixture
def start_at(api, worker, tenant, settings, provider):
    """What the worker does when `now` is reached."""
    return lambda now: start_due(worker, tenant.tenant_id, now, api.app.state.drivers.templates, settings)


def schedule(api, as_admin, campaign, **changes):
    body = {"start_date": (utc_now() + LATER).isoformat()} | changes
    return api.post(f"{PATH}/{campaign['id']}/schedule", json=body, headers=as_admin)


def texts(database, campaign) -> set[str]:
    with psycopg.connect(database.admin) as connection:
        found = connection.execute(
            "SELECT payload ->> 'text' FROM outbound_messages WHERE campaign_id = %s", (campaign["id"],)
        )
        return {text for (text,) in found}


class TestSchedule:
    def test_it_is_found_by_the_sweeper_and_started_when_its_time_has_come(
        self, api, as_admin, campaign, database, worker, tenant, start_at
    ):
        assert schedule(api, as_admin, campaign).json()["status"] == "scheduled"
        assert texts(database, campaign) == set()
        assert start_at(utc_now() + LATER / 2) == []
        after = utc_now() + 2 * LATER
        assert (tenant.tenant_id, "outbound") in tenants_with_work(worker, after)
        assert start_at(after) == [uuid.UUID(campaign["id"])]
        assert texts(database, campaign) == {"Hi Ada"}
        assert start_at(after) == []

    def test_an_edit_holds_for_text_template_people_and_start(
        self, api, as_admin, campaign, database, provider, make_segment, start_at
    ):
        provider.templates.append({"name": "greeting", "language": "en", "status": "APPROVED"})
        schedule(api, as_admin, campaign)
        segment_id, contacts = make_segment([("active", "opted_in", True)] * 3)
        change = {
            "message_template": "Hello {{name}}", "template_name": "greeting", "segment_id": str(segment_id),
            "holdout_rate": 0, "start_date": (utc_now() + 2 * LATER).isoformat(),
        }  # fmt: skip
        assert api.put(f"{PATH}/{campaign['id']}", json=change, headers=as_admin).status_code == 200
        assert start_at(utc_now() + 1.5 * LATER) == []
        assert start_at(utc_now() + 3 * LATER) == [uuid.UUID(campaign["id"])]
        with psycopg.connect(database.admin) as connection:
            sent = connection.execute(
                "SELECT contact_id, payload ->> 'template_name' FROM outbound_messages WHERE campaign_id = %s",
                (campaign["id"],),
            ).fetchall()
        assert set(sent) == {(contact_id, "greeting") for contact_id in contacts}
        assert texts(database, campaign) == {"Hello Ada"}

    def test_scheduling_twice_at_once_makes_one_audience(self, api, as_admin, campaign, database, start_at):
        threads = [threading.Thread(target=schedule, args=(api, as_admin, campaign)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        start_at(utc_now() + 2 * LATER)
        with psycopg.connect(database.admin) as connection:
            (total, people) = connection.execute(
                "SELECT count(*), count(DISTINCT contact_id) FROM decisions WHERE campaign_id = %s", (campaign["id"],)
            ).fetchone()
        assert (total, people) == (205, 205)

    def test_what_cannot_start_is_a_draft_again_with_the_reason(self, api, as_admin, campaign, provider, start_at):
        schedule(api, as_admin, campaign)
        provider.templates = []
        assert start_at(utc_now() + 2 * LATER) == []
        now = api.get(f"{PATH}/{campaign['id']}", headers=as_admin).json()
        assert now["status"] == "draft"
        assert "no template hello" in now["status_reason"]

    def test_a_provider_that_is_away_postpones_it(self, api, as_admin, campaign, provider, start_at):
        schedule(api, as_admin, campaign)
        provider.status = 503
        assert start_at(utc_now() + 2 * LATER) == []
        provider.status = 200
        assert start_at(utc_now() + 2 * LATER) == [uuid.UUID(campaign["id"])]

    def test_a_new_name_asks_no_provider(self, api, as_admin, campaign, provider):
        schedule(api, as_admin, campaign)
        provider.status = 503
        answer = api.put(f"{PATH}/{campaign['id']}", json={"name": "Winter"}, headers=as_admin)
        assert (answer.status_code, answer.json()["name"]) == (200, "Winter")

    def test_its_segment_cannot_be_taken_away(self, api, as_admin, campaign):
        schedule(api, as_admin, campaign)
        answer = api.put(f"{PATH}/{campaign['id']}", json={"segment_id": None}, headers=as_admin)
        assert answer.status_code == 409
        kept = api.get(f"{PATH}/{campaign['id']}", headers=as_admin).json()
        assert kept["segment_id"] == campaign["segment_id"]

    @pytest.mark.parametrize("start", [None, "2020-01-01T00:00:00Z"])
    def test_a_start_that_is_no_time_to_come_is_a_422(self, api, as_admin, campaign, start):
        schedule(api, as_admin, campaign)
        answer = api.put(f"{PATH}/{campaign['id']}", json={"start_date": start}, headers=as_admin)
        assert answer.status_code == 422
        assert schedule(api, as_admin, campaign, start_date="2020-01-01T00:00:00Z").status_code == 422


class TestEditOfAStarted:
    def test_a_running_one_keeps_what_it_says(self, api, as_admin, campaign, database):
        api.post(f"{PATH}/{campaign['id']}/start", headers=as_admin)
        url = f"{PATH}/{campaign['id']}"
        assert api.put(url, json={"message_template": "Bye {{name}}"}, headers=as_admin).status_code == 409
        assert api.put(url, json={"start_date": (utc_now() + LATER).isoformat()}, headers=as_admin).status_code == 409
        unchanged = {"message_template": "Hi {{name}}", "name": "Winter"}
        assert api.put(url, json=unchanged, headers=as_admin).json()["name"] == "Winter"

    def test_a_paused_ones_queued_messages_are_written_anew_to_the_same_people(
        self, api, as_admin, campaign, database, provider
    ):
        url = f"{PATH}/{campaign['id']}"
        queued = api.post(f"{url}/start", headers=as_admin).json()["plan"]["queued"]
        api.post(f"{url}/pause", headers=as_admin)
        provider.templates = [{"name": "greeting", "language": "en", "status": "APPROVED"}]
        assert api.post(f"{url}/resume", headers=as_admin).status_code == 409
        with psycopg.connect(database.admin) as connection:
            connection.execute(
                "UPDATE outbound_messages SET state = 'accepted' WHERE id = (SELECT id FROM outbound_messages"
                " WHERE campaign_id = %s LIMIT 1)", (campaign["id"],)
            )  # fmt: skip
        change = {"message_template": "Hello {{name}}", "template_name": "greeting"}
        assert api.put(url, json=change, headers=as_admin).status_code == 200
        with psycopg.connect(database.admin) as connection:
            found = connection.execute(
                "SELECT state, payload ->> 'text', payload ->> 'template_name', count(*) FROM outbound_messages"
                " WHERE campaign_id = %s GROUP BY 1, 2, 3 ORDER BY 1", (campaign["id"],)
            ).fetchall()  # fmt: skip
        assert found == [("accepted", "Hi Ada", "hello", 1), ("queued", "Hello Ada", "greeting", queued - 1)]
        assert api.post(f"{url}/resume", headers=as_admin).json()["status"] == "running"

    def test_what_the_broken_template_put_off_is_due_at_once(self, api, as_admin, campaign, database, provider):
        url = f"{PATH}/{campaign['id']}"
        api.post(f"{url}/start", headers=as_admin)
        api.post(f"{url}/pause", headers=as_admin)
        with psycopg.connect(database.admin) as connection:
            connection.execute(
                "UPDATE outbound_messages SET due_at = now() + interval '1 hour', reason = CASE WHEN id < %s"
                " THEN 'stop_template:132015' ELSE 'quiet_hours' END WHERE campaign_id = %s",
                ("80000000-0000-4000-8000-000000000000", campaign["id"]),
            )
        assert api.put(url, json={"message_template": "Hello {{name}}"}, headers=as_admin).status_code == 200
        with psycopg.connect(database.admin) as connection:
            found = connection.execute(
                "SELECT DISTINCT reason, due_at <= now() FROM outbound_messages WHERE campaign_id = %s ORDER BY 1",
                (campaign["id"],),
            ).fetchall()
        assert found == [("quiet_hours", False), ("stop_template:132015", True)]
