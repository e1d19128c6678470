"""After an erasure nothing of the operational database, or of the online store, tells of the person."""

from __future__ import annotations

import base64
import datetime as dt
import json
import uuid

import numpy as np
import psycopg
import pytest
import redis

from feature_store.online import contact_key
from gateway.drivers.cloud_api.webhook import sign
from serving.conversation.service import process_all
from serving.kit.database import Database
from serving.prediction.service import scores_key
from serving.webhook import endpoints

PHONE, USER_ID, NAME, SAID = "999400000001", "US.ada.4711", "Ada Lovelace", "my secret is a difference engine"
OTHER_PHONE, OTHER_SAID = "999400000002", "what the other one said"
SECRET = "app-secret"
NUMBER_ID = "400000000001"


@pytest.fixture(autouse=True)
def gateway_settings(monkeypatch):
    monkeypatch.setenv("GATEWAY_APP_SECRET", SECRET)
    monkeypatch.setenv("GATEWAY_VERIFY_TOKEN", "verify-me")
    endpoints.receiving_driver.cache_clear()
    yield
    endpoints.receiving_driver.cache_clear()


def body(**items):
    value = {"messaging_product": "whatsapp", "metadata": {"phone_number_id": NUMBER_ID}} | items
    field = "smb_message_echoes" if "message_echoes" in items else "messages"
    entry = {"id": "1", "changes": [{"field": field, "value": value}]}
    return json.dumps({"object": "whatsapp_business_account", "entry": [entry]}).encode()


def message(wamid, sender=PHONE, said=SAID, **more):
    contact = {"wa_id": sender, "user_id": USER_ID, "profile": {"name": NAME}}
    if sender != PHONE:
        contact |= {"user_id": "US.other", "profile": {"name": "Charles"}}
    item = {"id": wamid, "from": sender, "timestamp": "1770000000", "type": "text", "text": {"body": said}}
    return body(contacts=[contact], messages=[item | more])


def echo(wamid, said):
    item = {"id": wamid, "from": "1", "to": PHONE, "timestamp": "1770000100", "type": "text", "text": {"body": said}}
    return body(message_echoes=[item])


def status(wamid, word):
    return body(statuses=[{"id": wamid, "status": word, "timestamp": "1770000200", "recipient_id": PHONE}])


def telling(wamid, word):
    """A status that names the person by nothing but its message's id."""
    item = {"id": wamid, "status": word, "timestamp": "1770000200"}
    return body(statuses=[item])


# Of the kind the provider makes: the number is in it, at any of the three places of a group of base64.
WAMIDS = tuple(
    "wamid." + base64.b64encode(b"\x1c\x18\x0c"[:n] + PHONE.encode() + b"\x15\x02").decode() for n in (1, 2, 3)
)
# The last is no message anybody knows, and waits.
EVENTS = (
    message(WAMIDS[0]), status(WAMIDS[0], "held_for_review"), telling(WAMIDS[1], "pinned"), telling(WAMIDS[2], "sent"),
    message("wamid.1"), message("wamid.stop", said="STOP"), echo("wamid.2", "Dear Ada"), status("wamid.2", "delivered"),
    status("wamid.2", "read"), message("wamid.3", OTHER_PHONE, OTHER_SAID), status("wamid.unknown", "read"),
)  # fmt: skip


@pytest.fixture
def deliver(api):
    def deliver(content):
        headers = {"X-Hub-Signature-256": sign(content, SECRET), "Content-Type": "application/json"}
        return api.post("/api/v1/webhooks/whatsapp", content=content, headers=headers)

    return deliver


@pytest.fixture
def process(database, tenant):
    door = Database(database.worker, pool_size=2)
    yield lambda: process_all(door, tenant.tenant_id, dt.datetime.now(dt.UTC), 5000, phone_key="a-key-of-the-test-run")
    door.dispose()


def found(database, text):
    """The columns of all tables of the database whose values hold the text, in whatever type."""
    with psycopg.connect(database.admin) as connection:
        tables = connection.execute(
            "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE c.relkind IN ('r', 'm') AND n.nspname IN ('public', 'marts')"
        ).fetchall()
        return {
            table
            for schema, table in tables
            if connection.execute(
                f'SELECT 1 FROM "{schema}"."{table}" AS t WHERE strpos(t::text, %s) > 0 LIMIT 1', (text,)
            ).fetchone()
        }


@pytest.fixture
def person(api, as_admin, database, tenant, deliver, process, redis_url):
    """Ada: wrote, was written to, ordered, opted out, was scored, decided on and has features online."""
    with psycopg.connect(database.admin) as connection:
        connection.execute(
            "INSERT INTO phone_numbers (tenant_id, phone, provider_number_id) VALUES (%s, '+999100000001', %s)"
            " ON CONFLICT DO NOTHING",
            (tenant.tenant_id, NUMBER_ID),
        )
    for event in EVENTS:
        assert deliver(event).status_code == 200
    process()
    with psycopg.connect(database.admin) as connection:
        (contact,) = connection.execute("SELECT id FROM contacts WHERE phone = %s", (f"+{PHONE}",)).fetchone()
        values = {"t": tenant.tenant_id, "c": contact, "p": json.dumps({"kind": "text", "text": SAID, "to": PHONE})}
        for statement in (
            "UPDATE contacts SET name = 'Ada Lovelace', email = 'ada@engine.example',"
            ' custom_data = \'{"born": "Ada Lovelace 1815"}\' WHERE id = %(c)s',
            "INSERT INTO orders (tenant_id, contact_id, external_id, platform, total_cents, ordered_at)"
            " VALUES (%(t)s, %(c)s, '1', 'shop', 1, now())",
            "INSERT INTO scores (tenant_id, contact_id, model, model_version, score, probability, tier,"
            " feature_snapshot_id, scored_at) VALUES (%(t)s, %(c)s, 'churn', '1', 5, 0.1, 'cold', 's', now())",
            "INSERT INTO outbound_messages (tenant_id, contact_id, phone_number_id, payload, payload_hash, due_at)"
            " SELECT %(t)s, %(c)s, id, %(p)s, 'h', now() FROM phone_numbers WHERE tenant_id = %(t)s",
            "INSERT INTO send_attempts (tenant_id, outbound_message_id, attempt, started_at, finished_at, outcome,"
            " error_detail) SELECT tenant_id, id, 1, now(), now(), 'failed', 'no account: 999400000001'"
            " FROM outbound_messages WHERE contact_id = %(c)s",
        ):
            connection.execute(statement, values)
    with redis.Redis.from_url(redis_url) as client:
        client.set(contact_key(tenant.tenant_id, contact), np.zeros(4).tobytes())
        client.zadd(scores_key(tenant.tenant_id, "churn"), {str(contact): 5.0, "another": 6.0})
    return contact


class TestErasure:
    def test_leaves_neither_number_nor_name_nor_word(
        self, api, as_admin, database, tenant, person, deliver, process, redis_url
    ):
        for text in (PHONE, NAME, SAID, USER_ID):
            assert found(database, text) >= {"inbound_events"}, text
        assert "messages" in found(database, SAID)
        assert api.delete(f"/api/v1/contacts/{person}", headers=as_admin).status_code == 204
        for text in (
            PHONE,
            NAME,
            SAID,
            USER_ID,
            "ada@engine.example",
            "Dear Ada",
            "1815",
            "wamid.1",
            "wamid.2",
            *WAMIDS,
        ):
            assert found(database, text) == set(), text
        # By its id the warehouse learns what to forget; the id names nobody any more.
        assert found(database, str(person)) == {"deleted_rows", "erasures"}
        with redis.Redis.from_url(redis_url) as client:
            assert client.exists(contact_key(tenant.tenant_id, person)) == 0
            assert client.zrange(scores_key(tenant.tenant_id, "churn"), 0, -1) == [b"another"]

        # What the provider repeats, and what it still had to say of old messages, does not bring the person back.
        later = (status("wamid.1", "read"), status("wamid.2", "failed"), status("wamid.1", "billed"))
        for event in (*EVENTS, *later):
            assert deliver(event).status_code == 200
        process()
        for text in (PHONE, *WAMIDS):
            assert found(database, text) == set(), text
        assert found(database, OTHER_SAID) == {"messages", "inbound_events"}

        # The opt-out outlives it, as a digest.
        back = api.post("/api/v1/contacts/", headers=as_admin, json={"phone": f"+{PHONE}"}).json()
        assert back["marketing_consent"] == "opted_out"
        assert api.delete(f"/api/v1/contacts/{back['id']}", headers=as_admin).status_code == 204

    def test_tells_how_far_it_is(self, api, as_admin, as_stranger, database):
        made = api.post("/api/v1/contacts/", headers=as_admin, json={"phone": "+999400000012"}).json()
        place = f"/api/v1/contacts/erasures/{made['id']}"
        assert api.get(place, headers=as_admin).status_code == 404
        erased = api.delete(f"/api/v1/contacts/{made['id']}", headers=as_admin)
        assert (erased.status_code, erased.headers["location"]) == (204, place)
        told = api.get(place, headers=as_admin).json()
        assert (told["contact_id"], told["purged_at"]) == (made["id"], None)
        assert told["erased_at"] is not None
        assert api.get(place, headers=as_stranger).status_code == 404

    def test_of_somebody_who_came_back_is_told_anew(self, api, as_admin, database, tenant):
        contact = uuid.uuid4()
        for _ in range(2):
            with psycopg.connect(database.admin) as connection:
                connection.execute(
                    "INSERT INTO contacts (tenant_id, id, phone) VALUES (%s, %s, '+999400000015')",
                    (tenant.tenant_id, contact),
                )
            erased = api.delete(f"/api/v1/contacts/{contact}", headers=as_admin)
            assert erased.status_code == 204
            assert api.get(erased.headers["location"], headers=as_admin).json()["purged_at"] is None
            with psycopg.connect(database.admin) as connection:
                connection.execute("UPDATE erasures SET purged_at = now() WHERE contact_id = %s", (contact,))

    def test_leaves_alone_what_holds_the_number_within_another(self, api, as_admin, database, deliver):
        made = api.post("/api/v1/contacts/", headers=as_admin, json={"phone": "+999400000013"}).json()
        assert deliver(message("wamid.longer", OTHER_PHONE, "my parcel is 10999400000013")).status_code == 200
        assert api.delete(f"/api/v1/contacts/{made['id']}", headers=as_admin).status_code == 204
        assert found(database, "my parcel is") == {"inbound_events"}

    def test_is_undone_whole_when_the_online_store_is_away(self, settings, as_admin, api):
        from fastapi.testclient import TestClient

        from serving.app import create_app

        made = api.post("/api/v1/contacts/", headers=as_admin, json={"phone": "+999400000009"}).json()
        contact = f"/api/v1/contacts/{made['id']}"
        away = create_app(settings)
        with TestClient(away, raise_server_exceptions=False) as client:
            away.state.settings = settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"})
            refused = client.delete(contact, headers=as_admin)
        assert (refused.status_code, refused.headers["content-type"]) == (503, "application/problem+json")
        assert api.get(contact, headers=as_admin).json() == made

    def test_waits_for_a_batch_that_is_being_applied(self, api, as_admin, database, tenant):
        made = api.post("/api/v1/contacts/", headers=as_admin, json={"phone": "+999400000010"}).json()
        from concurrent.futures import ThreadPoolExecutor

        door = Database(database.worker, pool_size=1)
        with ThreadPoolExecutor(1) as pool:
            from serving.conversation.service import hold_inbox

            with door.tenant(tenant.tenant_id) as session:
                hold_inbox(session)
                erased = pool.submit(api.delete, f"/api/v1/contacts/{made['id']}", headers=as_admin)
                with pytest.raises(TimeoutError):
                    erased.result(timeout=0.5)
            assert erased.result(timeout=10).status_code == 204
        door.dispose()

    def test_of_a_strangers_contact_touches_nothing(self, api, as_stranger, as_admin, database):
        made = api.post("/api/v1/contacts/", headers=as_admin, json={"phone": "+999400000011"}).json()
        assert api.delete(f"/api/v1/contacts/{made['id']}", headers=as_stranger).status_code == 404
        assert api.delete(f"/api/v1/contacts/{uuid.uuid4()}", headers=as_stranger).status_code == 404
        assert api.get(f"/api/v1/contacts/{made['id']}", headers=as_admin).json() == made
