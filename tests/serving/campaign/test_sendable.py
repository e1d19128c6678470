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


class TestDryRun:
    def test_it_says_what_a_start_would_do_and_changes_nothing(self, api, as_admin, campaign, database):
        url = f"{PATH}/{campaign['id']}/start"
        tried = api.post(url, params={"dry_run": True}, headers=as_admin).json()
        assert (tried["dry_run"], tried["campaign"]["status"]) == (True, "draft")
        assert tried["campaign"] == campaign
        for table in ("decisions", "outbound_messages"):
            assert rows(database, f"SELECT 1 FROM {table} WHERE campaign_id = %s", campaign["id"]) == []
        assert api.post(url, headers=as_admin).json()["plan"] == tried["plan"]


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
