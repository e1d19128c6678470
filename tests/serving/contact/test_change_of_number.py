"""Consent and the open window belong to a number: another number of the same contact has neither."""

from __future__ import annotations

import datetime as dt
import itertools
import threading
import uuid

import psycopg
import pytest

from serving.consent.service import ConsentChange, record_consents
from serving.consent.suppression import phone_hmac
from serving.conversation.service import hold_inbox
from serving.kit.database import Database

KEY = "a-key-of-the-test-run"
_numbers = itertools.count(999_300_000_000)


def phone() -> str:
    return f"+{next(_numbers)}"


@pytest.fixture
def person(api, as_admin, tenant, database):
    return Person(api, as_admin, tenant.tenant_id, database)


class Person:
    """A contact who opted in at its first number and has a queued marketing message and an open window."""

    def __init__(self, api, headers, tenant_id, database):
        self.api, self.headers, self.tenant_id, self.database = api, headers, tenant_id, database
        self.phone = phone()
        created = api.post("/api/v1/contacts/", headers=headers, json={"phone": self.phone})
        self.id = uuid.UUID(created.json()["id"])
        self.number_id = database.add_number(tenant_id, uuid.uuid4().hex, phone())
        self.say("opted_in")
        self.queue("marketing")
        self.queue("service")
        self.execute(
            "INSERT INTO conversations (tenant_id, contact_id, phone_number_id, started_at, last_message_at,"
            " window_expires_at) VALUES (%s, %s, %s, now(), now(), now() + interval '1 day')",
            tenant_id, self.id, self.number_id,
        )  # fmt: skip

    def say(self, status, at=None, **more):
        """As if the person wrote it from the contact's number."""
        at = at or dt.datetime.now(dt.UTC)
        with self.worker() as session:
            change = ConsentChange(self.id, uuid.uuid4().hex, status, at, at, "whatsapp_keyword", **more)
            record_consents(session, self.tenant_id, [change], at, KEY)

    def worker(self):
        return Database(self.database.worker, pool_size=1).tenant(self.tenant_id)

    def queue(self, purpose):
        self.execute(
            "INSERT INTO outbound_messages (tenant_id, contact_id, phone_number_id, purpose, payload, payload_hash,"
            " state, due_at) VALUES (%s, %s, %s, %s, '{}', 'x', 'queued', now())",
            self.tenant_id, self.id, self.number_id, purpose,
        )  # fmt: skip

    def execute(self, query, *parameters):
        with psycopg.connect(self.database.admin) as connection:
            connection.execute(query, parameters)

    def all(self, query):
        with psycopg.connect(self.database.admin) as connection:
            return connection.execute(query, {"id": self.id}).fetchall()

    def put(self, **changes):
        return self.api.put(f"/api/v1/contacts/{self.id}", headers=self.headers, json=changes)

    @property
    def consent(self):
        (row,) = self.all("SELECT status, source FROM consents WHERE contact_id = %(id)s AND purpose = 'marketing'")
        return row

    @property
    def states(self):
        return dict(self.all("SELECT purpose, state FROM outbound_messages WHERE contact_id = %(id)s"))

    def listed(self, number):
        (row,) = self.all(f"SELECT count(*) FROM unsubscribers WHERE phone_hmac = '{phone_hmac(number, KEY)}'")
        return row[0] == 1


class TestAnotherNumber:
    def test_starts_without_consent_and_the_old_grant_is_history(self, person):
        changed = person.put(phone=phone())
        assert changed.status_code == 200
        assert changed.json()["marketing_consent"] == "none"
        assert person.consent == ("opted_out", "phone_changed")
        events = person.all("SELECT status, source FROM consent_events WHERE contact_id = %(id)s ORDER BY occurred_at")
        assert events == [("opted_in", "whatsapp_keyword"), ("opted_out", "phone_changed")]

    def test_is_written_nothing_that_was_queued_for_the_old_one_as_marketing(self, person):
        person.put(phone=phone())
        assert person.states == {"marketing": "suppressed", "service": "queued"}
        reasons = person.all("SELECT stage, reason FROM decisions WHERE contact_id = %(id)s")
        assert reasons == [("consent", "phone_changed")]

    def test_has_no_open_window(self, person):
        person.put(phone=phone())
        assert person.all("SELECT window_expires_at FROM conversations WHERE contact_id = %(id)s") == [(None,)]

    def test_puts_neither_number_on_the_list_of_the_unsubscribed(self, person):
        second, third = phone(), phone()
        person.put(phone=second)
        person.put(phone=third)
        assert not any(map(person.listed, (person.phone, second, third)))

    def test_is_not_listed_when_the_contact_is_deleted(self, person):
        second = phone()
        person.put(phone=second)
        assert person.api.delete(f"/api/v1/contacts/{person.id}", headers=person.headers).status_code == 204
        assert not person.listed(second)

    def test_that_is_the_earlier_one_again_revives_nothing(self, person):
        person.put(phone=phone())
        person.put(phone=person.phone)
        assert person.consent == ("opted_out", "phone_changed")
        person.put(name="Anna")
        assert person.consent == ("opted_out", "phone_changed")

    def test_outlives_a_grant_dated_ahead_of_our_clock(self, person):
        person.say("opted_in", dt.datetime.now(dt.UTC) + dt.timedelta(hours=1))
        person.put(phone=phone())
        person.say("opted_in", dt.datetime.now(dt.UTC) - dt.timedelta(days=3))
        assert person.consent == ("opted_out", "phone_changed")

    def test_grants_by_its_own_words(self, person):
        person.put(phone=phone())
        person.say("opted_in", dt.datetime.now(dt.UTC) + dt.timedelta(seconds=5), lifts=True)
        assert person.consent[0] == "opted_in"
        assert person.put(name="Anna").json()["marketing_consent"] == "opted_in"

    def test_that_says_stop_is_listed(self, person):
        second = phone()
        person.put(phone=second)
        person.say("opted_out", dt.datetime.now(dt.UTC) + dt.timedelta(seconds=5))
        assert person.listed(second)
        assert not person.listed(person.phone)

    def test_is_no_way_around_an_opt_out(self, person):
        person.say("opted_out", dt.datetime.now(dt.UTC) + dt.timedelta(seconds=1))
        second = phone()
        assert person.put(phone=second).json()["marketing_consent"] == "opted_out"
        assert person.consent == ("opted_out", "whatsapp_keyword")
        assert person.listed(person.phone)
        # The number that said no stays out whoever carries it.
        again = person.api.post("/api/v1/contacts/", headers=person.headers, json={"phone": person.phone})
        assert again.json()["marketing_consent"] == "opted_out"

    def test_leaves_the_persons_other_name_behind(self, person):
        person.execute(
            "INSERT INTO contact_identities (tenant_id, contact_id, kind, value) VALUES (%s, %s, 'whatsapp_user_id',"
            " %s)",
            person.tenant_id, person.id, f"US.{person.id}",
        )  # fmt: skip
        second = phone()
        person.put(phone=second)
        assert person.all("SELECT value FROM contact_identities WHERE contact_id = %(id)s") == [(second,)]

    @pytest.mark.parametrize("consent", ["none", "opted_out"])
    def test_is_found_as_one_that_was_never_asked(self, person, consent):
        person.put(phone=phone(), tags=[str(person.id)])
        query = {"marketing_consent": consent, "tag": str(person.id)}
        found = person.api.get("/api/v1/contacts/filter", headers=person.headers, params=query).json()["items"]
        assert len(found) == (1 if consent == "none" else 0)


@pytest.mark.parametrize("write", [str, lambda n: f"{n[:4]} {n[4:8]}-{n[8:]}", lambda n: "00" + n[1:]])
def test_the_same_number_written_otherwise_changes_nothing(person, write):
    assert person.put(phone=write(person.phone)).status_code == 200
    assert person.consent == ("opted_in", "whatsapp_keyword")
    assert person.states == {"marketing": "queued", "service": "queued"}
    ((expires_at,),) = person.all("SELECT window_expires_at FROM conversations WHERE contact_id = %(id)s")
    assert expires_at is not None


class TestRaces:
    def test_a_change_waits_for_a_send_in_flight_which_still_records_its_message(self, person):
        answers = []
        with psycopg.connect(person.database.worker) as sending:
            sending.execute("SELECT set_config('app.tenant_id', %s, true)", (str(person.tenant_id),))
            sending.execute("SELECT FROM consents WHERE contact_id = %s FOR SHARE", (person.id,))
            changing = threading.Thread(target=lambda: answers.append(person.put(phone=phone()).status_code))
            changing.start()
            changing.join(0.5)
            assert answers == []
            sending.execute(
                "INSERT INTO messages (tenant_id, contact_id, conversation_id, direction, kind, status, timestamp,"
                " provider_id, known_at)"
                " SELECT tenant_id, contact_id, id, 'outbound', 'text', 'pending', now(), %s, now()"
                " FROM conversations WHERE contact_id = %s",
                (uuid.uuid4().hex, person.id),
            )
        changing.join(10)
        assert answers == [200]
        assert person.consent == ("opted_out", "phone_changed")

    def test_a_change_waits_for_the_events_that_are_being_applied(self, person):
        answers = []
        with person.worker() as session:
            hold_inbox(session)
            changing = threading.Thread(target=lambda: answers.append(person.put(phone=phone()).status_code))
            changing.start()
            changing.join(0.5)
            assert answers == []
            now = dt.datetime.now(dt.UTC)
            change = ConsentChange(person.id, uuid.uuid4().hex, "opted_in", now, now, "whatsapp_keyword")
            record_consents(session, person.tenant_id, [change], now, KEY)
        changing.join(10)
        assert answers == [200]
        assert person.consent == ("opted_out", "phone_changed")
