"""What is checked before a campaign starts, and what it says about whom it leaves out."""

from __future__ import annotations

import uuid

import psycopg
import pytest

PATH = "/api/v1/campaigns"


def open_window(database, tenant_id, contact_id, number_id) -> None:
    with psycopg.connect(database.admin) as connection:
        connection.execute(
            "INSERT INTO conversations (tenant_id, contact_id, phone_number_id, started_at, last_message_at,"
            " window_expires_at) VALUES (%s, %s, %s, now(), now(), now() + interval '3 hours')",
            (tenant_id, contact_id, number_id),
        )


def rows(database, query: str, *parameters: object) -> list[tuple]:
    with psycopg.connect(database.admin) as connection:
        return connection.execute(query, parameters).fetchall()


class TestTemplate:
    @pytest.mark.parametrize(
        ("templates", "code"),
        [
            ([], "template_unknown"),
            ([{"name": "hello_again", "language": "en", "status": "APPROVED"}], "template_unknown"),
            ([{"name": "hello", "language": "de", "status": "APPROVED"}], "template_unknown"),
            ([{"name": "hello", "language": "en", "status": "PAUSED"}], "template_not_approved"),
            (
                [
                    {
                        "name": "hello", "language": "en", "status": "APPROVED",
                        "components": [{"type": "BODY", "text": "Hi {{1}}, {{2}}"}],
                    }
                ],
                "template_variables",
            ),
        ],
    )  # fmt: skip
    def test_one_that_would_be_refused_keeps_the_campaign_a_draft(
        self, api, as_admin, campaign, provider, database, templates, code
    ):
        provider.templates = templates
        answer = api.post(f"{PATH}/{campaign['id']}/start", headers=as_admin)
        assert (answer.status_code, answer.json()["errors"][0]["code"]) == (409, code)
        assert api.get(f"{PATH}/{campaign['id']}", headers=as_admin).json()["status"] == "draft"
        assert rows(database, "SELECT 1 FROM decisions WHERE campaign_id = %s", campaign["id"]) == []

    def test_a_provider_that_does_not_answer_is_a_503(self, api, as_admin, campaign, provider):
        provider.status = 500
        assert api.post(f"{PATH}/{campaign['id']}/start", headers=as_admin).status_code == 503
        provider.status = 200
        assert api.post(f"{PATH}/{campaign['id']}/start", headers=as_admin).status_code == 200

    def test_a_variable_nobody_fills_in_is_told(self, api, as_admin, make_campaign):
        made = make_campaign(message_template="Hi {{first_name}}", template_name=None)
        answer = api.post(f"{PATH}/{made['id']}/start", headers=as_admin)
        assert (answer.status_code, answer.json()["errors"][0]["code"]) == (409, "variable")

    def test_a_number_whose_account_nobody_named_starts_unchecked(
        self, api, as_admin, campaign, provider, database, tenant, number_id
    ):
        provider.status = 500
        account = rows(database, "SELECT business_account_id FROM phone_numbers WHERE id = %s", number_id)[0][0]
        change = "UPDATE phone_numbers SET business_account_id = %s WHERE id = %s"
        with psycopg.connect(database.admin) as connection:
            connection.execute(change, (None, number_id))
        try:
            answer = api.post(f"{PATH}/{campaign['id']}/start", headers=as_admin)
        finally:
            with psycopg.connect(database.admin) as connection:
                connection.execute(change, (account, number_id))
        assert answer.status_code == 200, answer.text

    def test_a_provider_that_refuses_to_say_is_no_503_to_try_again(self, api, as_admin, campaign, provider):
        provider.status, provider.error = 403, {"code": 200, "message": "(#200) no permission"}
        answer = api.post(f"{PATH}/{campaign['id']}/start", headers=as_admin)
        assert (answer.status_code, answer.json()["errors"][0]["code"]) == (409, "template_list_refused")
        assert "(#200) no permission" in answer.json()["errors"][0]["message"]

    def test_people_without_a_name_are_left_out_where_the_template_needs_it(
        self, api, as_admin, make_campaign, make_segment, database
    ):
        segment_id, contacts = make_segment([("active", "opted_in", True)] * 3)
        with psycopg.connect(database.admin) as connection:
            connection.execute("UPDATE contacts SET name = NULL WHERE id = %s", (contacts[0],))
            connection.execute("UPDATE contacts SET name = ' ' WHERE id = %s", (contacts[1],))
        made = make_campaign(segment_id=str(segment_id), holdout_rate=0)
        plan = api.post(f"{PATH}/{made['id']}/start", headers=as_admin).json()["plan"]
        assert (plan["queued"], plan["suppressed"]) == (1, {"no_name": 2})


class TestDates:
    def test_one_that_has_ended_does_not_start(self, api, as_admin, make_campaign):
        made = make_campaign(end_date="2021-01-01T00:00:00Z")
        answer = api.post(f"{PATH}/{made['id']}/start", headers=as_admin)
        assert (answer.status_code, answer.json()["errors"][0]["code"]) == (409, "ended")

    def test_a_draft_starts_now_whatever_start_it_had(self, api, as_admin, make_campaign):
        made = make_campaign(start_date="2021-01-01T00:00:00Z")
        started = api.post(f"{PATH}/{made['id']}/start", headers=as_admin).json()["campaign"]
        assert started["start_date"] > made["created_at"]

    def test_scheduling_keeps_the_end_that_the_campaign_has(self, api, as_admin, make_campaign):
        made = make_campaign(end_date="2099-01-01T00:00:00Z")
        url, start = f"{PATH}/{made['id']}/schedule", "2098-01-01T00:00:00Z"
        kept = api.post(url, json={"start_date": start}, headers=as_admin).json()
        assert kept["end_date"] == made["end_date"]
        late = api.post(url, json={"start_date": "2099-06-01T00:00:00Z"}, headers=as_admin)
        assert late.status_code == 422
        cleared = api.post(url, json={"start_date": start, "end_date": None}, headers=as_admin).json()
        assert cleared["end_date"] is None


class TestType:
    def test_a_kept_drip_is_neither_started_nor_duplicated(self, api, as_admin, campaign, database):
        with psycopg.connect(database.admin) as connection:
            connection.execute("UPDATE campaigns SET type = 'drip' WHERE id = %s", (campaign["id"],))
        started = api.post(f"{PATH}/{campaign['id']}/start", headers=as_admin)
        assert (started.status_code, started.json()["errors"][0]["code"]) == (409, "type_unavailable")
        body = {"campaign_id": campaign["id"]}
        copied = api.post(f"{PATH}/duplicate", json=body, headers=as_admin)
        assert (copied.status_code, copied.json()["errors"][0]["code"]) == (422, "type_unavailable")


class TestWindow:
    def test_without_a_template_only_open_windows_are_written_to(
        self, api, as_admin, make_campaign, make_segment, database, tenant, number_id
    ):
        segment_id, contacts = make_segment([("active", "opted_in", True)] * 3)
        open_window(database, tenant.tenant_id, contacts[0], number_id)
        made = make_campaign(template_name=None, segment_id=str(segment_id), holdout_rate=0)
        answer = api.post(f"{PATH}/{made['id']}/start", headers=as_admin)
        assert answer.json()["plan"] == {
            "eligible": 1, "held_out": 0, "queued": 1, "suppressed": {"window_closed": 2}
        }  # fmt: skip

    def test_a_campaign_that_would_reach_nobody_does_not_start(
        self, api, as_admin, make_campaign, make_segment, database
    ):
        segment_id, _ = make_segment([("active", "opted_in", True)] * 2 + [("active", None, True)])
        made = make_campaign(template_name=None, segment_id=str(segment_id))
        answer = api.post(f"{PATH}/{made['id']}/start", headers=as_admin)
        assert answer.status_code == 409
        assert answer.json()["suppressed"] == {"window_closed": 2, "no_consent": 1}
        assert api.get(f"{PATH}/{made['id']}", headers=as_admin).json()["status"] == "draft"

    def test_one_whose_people_are_all_held_out_does_not_start(self, api, as_admin, make_campaign, make_segment):
        segment_id, _ = make_segment([("active", "opted_in", True)])
        made = make_campaign(segment_id=str(segment_id), holdout_rate=0.999999)
        answer = api.post(f"{PATH}/{made['id']}/start", headers=as_admin)
        assert (answer.status_code, answer.json()["held_out"]) == (409, 1)
        assert "held out 1" in answer.json()["detail"]


class TestDryRun:
    def test_it_says_what_a_start_would_do_and_changes_nothing(self, api, as_admin, campaign, database):
        url = f"{PATH}/{campaign['id']}/start"
        tried = api.post(url, params={"dry_run": True}, headers=as_admin).json()
        assert (tried["dry_run"], tried["campaign"]["status"]) == (True, "draft")
        assert tried["campaign"] == campaign
        for table in ("decisions", "outbound_messages"):
            assert rows(database, f"SELECT 1 FROM {table} WHERE campaign_id = %s", campaign["id"]) == []
        assert api.post(url, headers=as_admin).json()["plan"] == tried["plan"]

    def test_it_refuses_what_a_start_would_refuse(self, api, as_admin, make_campaign, make_segment):
        segment_id, _ = make_segment([("active", None, True)])
        url = f"{PATH}/{make_campaign(segment_id=str(segment_id))['id']}/start"
        tried = api.post(url, params={"dry_run": True}, headers=as_admin)
        started = api.post(url, headers=as_admin)
        assert (tried.status_code, tried.json()["suppressed"]) == (409, {"no_consent": 1})
        assert tried.json() | {"request_id": ""} == started.json() | {"request_id": ""}


class TestSegment:
    def test_a_rule_is_asked_anew_when_the_campaign_starts(
        self, api, as_admin, make_campaign, make_segment, database, tenant
    ):
        tag = uuid.uuid4().hex
        rule = {"status": "active", "all_tags": [tag], "any_tags": [], "no_tags": []}
        segment_id, contacts = make_segment([("active", "opted_in", True)] * 3, "rule", rule)
        with psycopg.connect(database.admin) as connection:
            connection.execute("UPDATE contacts SET tags = %s WHERE id = ANY(%s)", ([tag], contacts[:2]))
        made = make_campaign(segment_id=str(segment_id), holdout_rate=0)
        api.post(f"{PATH}/{made['id']}/start", params={"dry_run": True}, headers=as_admin)
        members = "SELECT count(*) FROM segment_members WHERE segment_id = %s"
        assert rows(database, members, segment_id) == [(3,)]
        plan = api.post(f"{PATH}/{made['id']}/start", headers=as_admin).json()["plan"]
        assert (plan["queued"], rows(database, members, segment_id)) == (2, [(2,)])
