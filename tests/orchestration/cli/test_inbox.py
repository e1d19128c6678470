"""`rapport inbox` over a real database: what was set aside is shown and tried again."""

from __future__ import annotations

import json
import uuid

import psycopg
import pytest
from typer.testing import CliRunner

from orchestration.cli import console, inbox


@pytest.fixture
def tenant(database, monkeypatch) -> str:
    monkeypatch.setattr(inbox, "_urls", lambda: inbox._Urls(database.worker, database.etl_read))
    slug = f"shop-{uuid.uuid4().hex[:8]}"
    tenant_id = database.add_tenant(slug)
    with psycopg.connect(database.admin) as connection:
        for key, error in (("w.1", "text.body: not text"), ("w.2", "text.body: not text"), ("w.3", None)):
            connection.execute(
                "INSERT INTO inbound_events (tenant_id, event_key, kind, provider_number_id, occurred_at, received_at,"
                " payload, processed_at, error, attempts) VALUES (%s, %s, 'message', '1', now(), now(), '{}', now(),"
                " %s, 1)",
                (tenant_id, key, error),
            )
    return slug


def run(*words: str):
    return CliRunner().invoke(inbox.app, [*words, "--json"], catch_exceptions=False)


def test_counts_name_the_tenant_and_the_reason(tenant):
    (row,) = [row for row in json.loads(run("show").stdout) if row["tenant"] == tenant]
    assert (row["kind"], row["events"], row["reason"]) == ("message", 2, "text.body: not text")


def test_the_events_of_a_tenant_are_shown_with_their_ids_and_one_is_tried_again(tenant):
    shown = json.loads(run("show", tenant).stdout)
    assert [row["reason"] for row in shown] == ["text.body: not text"] * 2
    assert json.loads(run("retry", tenant, "--event", shown[0]["event"]).stdout)["events"] == 1
    assert [row["event"] for row in json.loads(run("show", tenant).stdout)] == [shown[1]["event"]]


def test_all_are_tried_again(tenant):
    assert json.loads(run("retry", tenant).stdout)["events"] == 2
    assert json.loads(run("show", tenant).stdout) == []


@pytest.mark.parametrize("words", [("show", "nobody"), ("retry", "nobody"), ("retry", "nobody", "--event", "x")])
def test_what_is_not_there_is_refused(tenant, words):
    with pytest.raises(console.Refused):
        run(*words)
