"""One odd event costs nobody else anything, is kept with its reason, and is tried again when somebody says so."""

from __future__ import annotations

import datetime as dt
import json
import uuid

import psycopg
import pytest
import sqlalchemy as sa

from serving.conversation import service
from serving.conversation.aside import aside_counts, aside_events, is_outage, retry

from .conftest import T0, order, status, text

ANNA, BEN = "999100000021", "999100000022"
HOUR = dt.timedelta(hours=1)


def image(wamid: str, sender: str, **content: object) -> dict:
    return text(wamid, sender, "") | {"type": "image", "image": {"id": "1"} | content}


def priced(price: object) -> dict:
    cart = order("w.odd", ANNA)
    cart["order"]["product_items"][0]["item_price"] = price
    return cart


ODD = {
    "a price beyond any number": priced("1e99999"),
    "a price that takes minutes to expand": priced("1e999990"),
    "a negative price": priced("-4"),
    "more pieces than there are": order("w.odd", ANNA)
    | {
        "order": {"product_items": [{"product_retailer_id": "x", "quantity": 10**12, "item_price": 1, "currency": "E"}]}
    },
    "an object as caption": image("w.odd", ANNA, caption={"a": 1}),
    "a list as media id": image("w.odd", ANNA, id=["1"]),
    "an object as quoted id": text("w.odd", ANNA, "hi") | {"context": {"id": {"a": 1}}},
    "a number as text": text("w.odd", ANNA, "hi") | {"text": {"body": 7}},
    "a list as sender": text("w.odd", ANNA, "hi") | {"from": [ANNA]},
    "an object as id": text("w.odd", ANNA, "hi") | {"id": {"a": 1}},
    "an object as kind": text("w.odd", ANNA, "hi") | {"type": {"a": 1}},
    "a moment in the year 3000": text("w.odd", ANNA, "hi") | {"timestamp": "32503680000"},
    "an object as status": status("w.odd", "sent", T0, ANNA) | {"status": {"a": 1}},
    "an object as recipient": status("w.odd", "sent", T0, ANNA) | {"recipient_id": {"a": 1}},
    "a word as error code": status("w.odd", "failed", T0, ANNA) | {"errors": [{"code": "x"}]},
    "a number as errors": status("w.odd", "failed", T0, ANNA) | {"errors": 4},
}


@pytest.mark.parametrize("name", ODD)
def test_an_odd_event_costs_nobody_else_anything(inbox, name):
    inbox.receive(text("w.join", BEN, "JOIN"))
    inbox.receive(dict(ODD[name]))
    inbox.receive(text("w.stop", BEN, "STOP", T0 + HOUR))
    inbox.process(now=dt.datetime.now(dt.UTC) + dt.timedelta(hours=25))
    assert inbox.all("SELECT h.status FROM consents h JOIN contacts c ON c.id = h.contact_id") == [("opted_out",)]
    with inbox.database.tenant(inbox.tenant_id) as session:
        (kept,) = aside_events(session)
        assert kept.reason
        assert [(count.kind, count.events) for count in aside_counts(session)] == [(kept.kind, 1)]
    assert inbox.all("SELECT count(*) FROM inbound_events WHERE processed_at IS NULL") == [(0,)]


@pytest.mark.parametrize("name", [{"first": "A"}, ["A"], 7, "x" * 100_000, "half \ud83d", "nul \x00"])
def test_a_stop_counts_whatever_the_profile_says(inbox, name):
    value = {
        "metadata": {"phone_number_id": inbox.number},
        "contacts": [{"wa_id": ANNA, "profile": {"name": name}}],
        "messages": [{"id": "w.1", "from": ANNA, "timestamp": "1770000000", "type": "text", "text": {"body": "STOP"}}],
    }
    inbox.store(json.dumps({"entry": [{"changes": [{"field": "messages", "value": value}]}]}).encode())
    inbox.process()
    assert inbox.all("SELECT status FROM consents") == [("opted_out",)]


class TestWhateverIsRaised:
    """What no decoder foresaw: a trigger of the database and a fault of ours stand in for it."""

    @pytest.fixture
    def refusing(self, inbox):
        with psycopg.connect(inbox.admin) as connection:
            connection.execute("""CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                IF NEW.text = 'poison' THEN RAISE 'no' USING ERRCODE = 'feature_not_supported'; END IF;
                RETURN NEW; END $$""")
            connection.execute("CREATE TRIGGER refuse BEFORE INSERT ON messages FOR EACH ROW EXECUTE FUNCTION refuse()")
        yield inbox
        with psycopg.connect(inbox.admin) as connection:
            connection.execute("DROP FUNCTION refuse() CASCADE")

    def test_is_isolated_to_its_events(self, refusing):
        bodies = ["poison" if index in (3, 4, 11) else "hello" for index in range(16)]
        refusing.receive(*(text(f"w.{n}", ANNA, body, T0 + n * HOUR) for n, body in enumerate(bodies)))
        batch = refusing.process()
        assert (batch.applied, batch.refused) == (13, 3)
        assert refusing.all("SELECT count(*) FROM messages") == [(13,)]
        assert refusing.process().claimed == 0

    def test_is_tried_again_after_the_fix(self, refusing):
        refusing.receive(text("w.1", ANNA, "hello"), text("w.2", ANNA, "poison", T0 + HOUR))
        refusing.process()
        with psycopg.connect(refusing.admin) as connection:
            connection.execute("DROP TRIGGER refuse ON messages")
        with refusing.database.tenant(refusing.tenant_id) as session:
            assert retry(session, uuid.uuid4()) == 0
            assert retry(session) == 1
        assert refusing.process().applied == 1
        assert refusing.all("SELECT provider_id FROM messages ORDER BY 1") == [("w.1",), ("w.2",)]
        assert refusing.all("SELECT count(*) FROM inbound_events WHERE error IS NOT NULL") == [(0,)]

    def test_a_fault_of_ours_is_isolated_too(self, inbox, monkeypatch):
        honest = service._apply

        def faulty(session, events, context):
            if any("poison" in json.dumps(event.payload) for event in events):
                raise AttributeError("our own mistake")
            return honest(session, events, context)

        monkeypatch.setattr(service, "_apply", faulty)
        inbox.receive(text("w.1", ANNA, "hello"), text("w.2", ANNA, "poison"), text("w.3", BEN, "STOP"))
        batch = inbox.process()
        assert (batch.applied, batch.refused) == (2, 1)
        assert inbox.all("SELECT error FROM inbound_events WHERE error IS NOT NULL") == [
            ("AttributeError: our own mistake",)
        ]

    def test_a_database_that_is_away_is_nobodys_fault(self, inbox):
        inbox.receive(text("w.1", ANNA, "hello"))
        with psycopg.connect(inbox.admin) as connection:
            connection.execute("""CREATE FUNCTION away() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                RAISE 'disk full' USING ERRCODE = 'disk_full'; END $$""")
            connection.execute("CREATE TRIGGER away BEFORE INSERT ON messages FOR EACH ROW EXECUTE FUNCTION away()")
        with pytest.raises(sa.exc.OperationalError) as raised:
            inbox.process()
        assert is_outage(raised.value)
        with psycopg.connect(inbox.admin) as connection:
            connection.execute("DROP FUNCTION away() CASCADE")
        assert inbox.process().applied == 1


def test_a_status_that_is_odd_in_part_still_waits_for_its_message(inbox):
    inbox.receive(status("w.late", "delivered", T0, ANNA) | {"recipient_id": {"a": 1}})
    assert inbox.process().waiting == 1
    assert inbox.all("SELECT count(*) FROM inbound_events WHERE processed_at IS NULL") == [(1,)]


def test_large_events_are_applied_a_few_at_a_time(inbox, monkeypatch):
    monkeypatch.setattr(service, "_BATCH_BYTES", 1)
    inbox.receive(*(text(f"w.{n}", ANNA, "hello", T0 + n * HOUR) for n in range(3)))
    now = dt.datetime.now(dt.UTC)
    claimed = [service.process_inbound(inbox.database, inbox.tenant_id, now, phone_key="key").claimed for _ in range(4)]
    assert claimed == [1, 1, 1, 0]
