"""Who writes from another number is another contact: what one number granted is no word of the other's."""

from __future__ import annotations

import datetime as dt

import pytest

from serving.consent.suppression import phone_hmac

from .conftest import T0, text

OLD, NEW = "999100000041", "999100000042"
HOUR = dt.timedelta(hours=1)


def said(wamid: str, body: str, at: dt.datetime, sender: str | None = OLD, user: str | None = "US.9") -> dict:
    return text(wamid, sender, body, at) | ({"from_user_id": user} if user else {})


def left(wamid: str, at: dt.datetime, kind: str = "user_changed_number") -> dict:
    told = {"body": "changed", "wa_id": NEW, "type": kind}
    return text(wamid, OLD, "", at) | {"type": "system", "system": told}


def consents(inbox) -> dict[str | None, tuple[str, str]]:
    rows = inbox.all("SELECT c.phone, h.status, h.source FROM consents h JOIN contacts c ON c.id = h.contact_id")
    return {phone: (status, source) for phone, status, source in rows}


def listed(inbox) -> set[str]:
    found = {row[0] for row in inbox.all("SELECT phone_hmac FROM unsubscribers")}
    return {number for number in (OLD, NEW) if phone_hmac("+" + number, "key") in found}


@pytest.mark.parametrize("at_once", [True, False])
class TestAPersonWhoWritesFromAnotherNumber:
    def receive(self, inbox, at_once, *events):
        for event in events:
            inbox.receive(event)
            if not at_once:
                inbox.process()
        inbox.process()

    def test_has_granted_nothing_there_and_nothing_at_the_old_one_any_more(self, inbox, at_once):
        self.receive(inbox, at_once, said("w.1", "JOIN", T0), said("w.2", "hello", T0 + HOUR, NEW))
        assert consents(inbox) == {"+" + OLD: ("opted_out", "phone_changed")}
        assert listed(inbox) == set()

    def test_grants_for_that_number_only(self, inbox, at_once):
        self.receive(inbox, at_once, said("w.1", "hi", T0), said("w.2", "JOIN", T0 + HOUR, NEW))
        assert consents(inbox) == {"+" + NEW: ("opted_in", "whatsapp_keyword")}

    def test_is_heard_there_by_name_alone(self, inbox, at_once):
        events = said("w.1", "hi", T0), said("w.2", "JOIN", T0 + HOUR, NEW), said("w.3", "STOP", T0 + 2 * HOUR, None)
        self.receive(inbox, at_once, *events)
        if not at_once:
            assert consents(inbox)["+" + NEW] == ("opted_out", "whatsapp_keyword")
            assert listed(inbox) == {NEW}

    def test_has_not_gone_back_when_an_older_message_comes_late(self, inbox, at_once):
        events = said("w.2", "JOIN", T0 + HOUR, NEW), said("w.1", "hello", T0)
        self.receive(inbox, at_once, *events)
        assert consents(inbox) == {"+" + NEW: ("opted_in", "whatsapp_keyword")}

    def test_says_stop_for_the_number_it_is_said_from(self, inbox, at_once):
        self.receive(inbox, at_once, said("w.1", "JOIN", T0), said("w.2", "STOP", T0 + HOUR, NEW))
        assert consents(inbox)["+" + NEW] == ("opted_out", "whatsapp_keyword")
        assert consents(inbox)["+" + OLD][0] == "opted_out"
        assert listed(inbox) == {NEW}


def test_who_gave_a_number_up_is_not_written_to_there(inbox):
    inbox.receive(text("w.1", OLD, "JOIN"), left("w.2", T0 + HOUR))
    inbox.process()
    assert consents(inbox) == {"+" + OLD: ("opted_out", "phone_changed")}
    assert listed(inbox) == set()
    inbox.receive(text("w.3", OLD, "JOIN", T0 + 2 * HOUR))
    inbox.process()
    assert consents(inbox) == {"+" + OLD: ("opted_in", "whatsapp_keyword")}


def test_another_notice_of_the_system_withdraws_nothing(inbox):
    inbox.receive(text("w.1", OLD, "JOIN"), left("w.2", T0 + HOUR, "customer_identity_changed"))
    inbox.process()
    assert consents(inbox)["+" + OLD][0] == "opted_in"


def test_a_notice_of_the_system_opens_no_window(inbox):
    inbox.receive(left("w.1", T0))
    inbox.process()
    assert inbox.all("SELECT window_expires_at FROM conversations") == [(None,)]


def test_a_contact_of_whom_only_a_name_was_known_keeps_its_word_when_its_number_is_told(inbox):
    inbox.receive(said("w.1", "JOIN", T0, None))
    inbox.process()
    inbox.receive(said("w.2", "hello", T0 + HOUR))
    inbox.process()
    assert consents(inbox) == {"+" + OLD: ("opted_in", "whatsapp_keyword")}
