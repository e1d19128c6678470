from __future__ import annotations

import dataclasses
import datetime as dt
import threading
from collections import Counter

import pytest

from serving.consent.service import ConsentChange, record_consents
from serving.kit.clock import utc_now
from serving.sending.service import claim_batch, recover, send_batch

from .conftest import refusal


def contact_of(outbox, message_id):
    return outbox.one("SELECT contact_id FROM outbound_messages WHERE id = %s", message_id)[0]


class TestDispatch:
    def test_every_message_is_accepted_once_and_recorded(self, sender, outbox, cloud_api):
        ids = outbox.add(30)
        assert sender.dispatch(outbox.tenant_id) == {"accepted": 30}
        assert cloud_api.sends == Counter({str(message_id): 1 for message_id in ids})
        rows = outbox.all(
            "SELECT m.id, m.campaign_id, m.status, m.provider_id = o.provider_id FROM messages m"
            " JOIN outbound_messages o USING (tenant_id, id) WHERE m.tenant_id = %s",
            outbox.tenant_id,
        )
        assert {row[0] for row in rows} == set(ids)
        assert {row[1:] for row in rows} == {(outbox.campaign_id, "pending", True)}
        assert outbox.one(
            "SELECT count(*) FROM send_attempts WHERE outcome = 'accepted' AND tenant_id = %s", outbox.tenant_id
        ) == (30,)

    @pytest.mark.parametrize(("consent", "reason"), [("opted_out", "opted_out"), (None, "no_consent")])
    def test_without_consent_nothing_leaves_and_the_reason_is_kept(self, sender, outbox, cloud_api, consent, reason):
        outbox.add(2, consent=consent)
        assert sender.dispatch(outbox.tenant_id) == {"suppressed": 2}
        assert cloud_api.requests == []
        decided = outbox.all("SELECT outcome, reason FROM decisions WHERE tenant_id = %s", outbox.tenant_id)
        assert decided == [("suppress", reason)] * 2

    def test_a_paused_campaign_keeps_its_messages_queued(self, sender, outbox, cloud_api):
        outbox.add(3)
        outbox.execute("UPDATE campaigns SET status = 'paused' WHERE id = %s", outbox.campaign_id)
        assert sender.dispatch(outbox.tenant_id) == {}
        assert outbox.states() == {"queued": 3}
        assert cloud_api.requests == []

    def test_two_workers_at_once_send_each_message_once(self, sender, outbox, cloud_api):
        ids = outbox.add(120)
        small = sender.settings.model_copy(update={"send_batch_size": 7})
        workers = [dataclasses.replace(sender, settings=small) for _ in range(2)]
        threads = [threading.Thread(target=worker.dispatch, args=(outbox.tenant_id,)) for worker in workers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert outbox.states() == {"accepted": 120}
        assert cloud_api.sends == Counter({str(message_id): 1 for message_id in ids})

    def test_beyond_the_messaging_tier_people_wait(self, sender, outbox):
        outbox.execute("UPDATE phone_numbers SET messaging_tier = 4 WHERE id = %s", outbox.number_id)
        outbox.add(10)
        assert sender.dispatch(outbox.tenant_id) == {"accepted": 4, "queued": 6}
        reasons = outbox.all(
            "SELECT DISTINCT reason FROM outbound_messages WHERE state = 'queued' AND tenant_id = %s", outbox.tenant_id
        )
        assert reasons == [("messaging_tier",)]


class TestOptOut:
    def test_between_claim_and_send_it_still_stops_the_send(self, sender, outbox, cloud_api, worker_database):
        ids = outbox.add(3)
        claim = claim_batch(sender, outbox.tenant_id, outbox.number_id)
        now = utc_now()
        with worker_database.tenant(outbox.tenant_id) as session:
            contact_id = contact_of(outbox, ids[0])
            change = ConsentChange(contact_id, "stop", "opted_out", now, now, "test")
            record_consents(session, outbox.tenant_id, [change], now, "key")
        assert send_batch(sender, outbox.tenant_id, claim).states == {"accepted": 2, "suppressed": 1}
        assert str(ids[0]) not in cloud_api.sends

    def test_waits_for_a_send_in_flight_and_then_none_starts(self, sender, outbox, cloud_api, worker_database):
        (message_id,) = outbox.add(1)
        contact_id = contact_of(outbox, message_id)
        reached, release = threading.Event(), threading.Event()

        def hold(body):
            reached.set()
            release.wait(10)

        cloud_api.answer = hold
        sending = threading.Thread(target=sender.dispatch, args=(outbox.tenant_id,))
        sending.start()
        assert reached.wait(10)
        order = []

        def opt_out():
            now = utc_now()
            with worker_database.tenant(outbox.tenant_id) as session:
                change = ConsentChange(contact_id, "stop", "opted_out", now, now, "test")
                record_consents(session, outbox.tenant_id, [change], now, "key")
            order.append("opted out")

        opting = threading.Thread(target=opt_out)
        opting.start()
        opting.join(0.4)
        assert order == []
        release.set()
        opting.join(10)
        sending.join(10)
        assert order == ["opted out"]
        accepted_at, effective_at = outbox.one(
            "SELECT o.accepted_at, c.effective_at FROM outbound_messages o JOIN consents c USING (tenant_id,"
            " contact_id)"
            " WHERE o.id = %s", message_id,
        )  # fmt: skip
        assert accepted_at <= effective_at <= utc_now() + dt.timedelta(seconds=5)


class TestRefusals:
    def test_too_fast_comes_back_later(self, sender, outbox, cloud_api):
        outbox.add(1)
        cloud_api.answer = lambda body: refusal(429, 130429)
        before = utc_now()
        assert sender.dispatch(outbox.tenant_id) == {"queued": 1}
        reason, due_at, attempt = outbox.one(
            "SELECT reason, due_at, attempt FROM outbound_messages WHERE tenant_id = %s", outbox.tenant_id
        )
        assert (reason, attempt) == ("back_off:130429", 1)
        assert due_at > before + dt.timedelta(seconds=0.9)

    def test_a_paused_template_pauses_its_campaign_with_the_reason(self, sender, outbox, cloud_api):
        outbox.add(2)
        cloud_api.answer = lambda body: refusal(400, 132015)
        sender.dispatch(outbox.tenant_id)
        status = outbox.one("SELECT status, status_reason FROM campaigns WHERE id = %s", outbox.campaign_id)
        assert status == ("paused", "template:132015")
        assert outbox.states() == {"queued": 2}

    def test_a_blocked_number_stops_and_pauses_what_uses_it(self, sender, outbox, cloud_api):
        outbox.add(2)
        cloud_api.answer = lambda body: refusal(401, 190)
        sender.dispatch(outbox.tenant_id)
        assert outbox.one("SELECT status, status_reason FROM phone_numbers WHERE id = %s", outbox.number_id) == (
            "stopped",
            "provider:190",
        )
        assert outbox.one("SELECT status FROM campaigns WHERE id = %s", outbox.campaign_id) == ("paused",)

    def test_the_providers_word_that_somebody_opted_out_is_an_opt_out(self, sender, outbox, cloud_api):
        (message_id,) = outbox.add(1)
        cloud_api.answer = lambda body: refusal(400, 131050)
        assert sender.dispatch(outbox.tenant_id) == {"failed": 1}
        contact_id = contact_of(outbox, message_id)
        assert outbox.one("SELECT status, source FROM consents WHERE contact_id = %s", contact_id) == (
            "opted_out",
            "provider",
        )
        assert outbox.one("SELECT count(*) FROM unsubscribers WHERE tenant_id = %s", outbox.tenant_id) == (1,)

    def test_a_lost_answer_is_unknown_and_never_sent_again(self, sender, outbox, cloud_api):
        outbox.add(1)
        cloud_api.answer = lambda body: "hang up"
        assert sender.dispatch(outbox.tenant_id) == {"unknown": 1}
        cloud_api.answer = lambda body: None
        assert sender.dispatch(outbox.tenant_id) == {}
        assert len(cloud_api.requests) == 1


class TestRecover:
    def test_a_dead_workers_claim_is_unknown_once_its_lease_ended(self, sender, outbox, cloud_api):
        outbox.add(2)
        claim_batch(sender, outbox.tenant_id, outbox.number_id)
        assert recover(sender, outbox.tenant_id) == 0
        later = dataclasses.replace(sender, clock=lambda: utc_now() + dt.timedelta(seconds=31))
        assert recover(later, outbox.tenant_id) == 2
        assert outbox.states() == {"unknown": 2}
        assert cloud_api.requests == []

    def test_a_claim_that_outlived_its_lease_sends_nothing(self, sender, outbox, cloud_api):
        outbox.add(2)
        claim = claim_batch(sender, outbox.tenant_id, outbox.number_id)
        late = dataclasses.replace(sender, clock=lambda: utc_now() + dt.timedelta(seconds=31))
        assert send_batch(late, outbox.tenant_id, claim).claimed == 0
        assert cloud_api.requests == []
