from __future__ import annotations

import dataclasses
import datetime as dt
import threading
from collections import Counter

import pytest
import sqlalchemy as sa

from serving.consent.service import START_SECONDS, ConsentChange, record_consents
from serving.kit.clock import utc_now
from serving.sending.service import finish_batch, recover, start_batch
from serving.sending.start import Busy, read_number, start

from .conftest import refusal


def contact_of(outbox, message_id):
    return outbox.one("SELECT contact_id FROM outbound_messages WHERE id = %s", message_id)[0]


def number_of(sender, outbox):
    with sender.database.tenant(outbox.tenant_id) as session:
        return read_number(session, outbox.number_id)


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

    def test_a_campaign_that_sent_nothing_ends_with_the_reasons(self, sender, outbox):
        ids = outbox.add(3, consent="opted_out") + outbox.add(1, consent=None)
        outbox.execute(
            "INSERT INTO decisions (tenant_id, campaign_id, contact_id, stage, outcome, reason, policy_version,"
            " decided_at) VALUES (%s, %s, %s, 'plan', 'send', 'eligible', 'test', now())",
            outbox.tenant_id, outbox.campaign_id, contact_of(outbox, ids[0]),
        )  # fmt: skip
        sender.dispatch(outbox.tenant_id)
        ended = outbox.one("SELECT status, status_reason FROM campaigns WHERE id = %s", outbox.campaign_id)
        assert ended == ("completed", "nothing was sent: opted_out 3, no_consent 1")

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


def opt_out(worker_database, outbox, contact_id):
    now = utc_now()
    with worker_database.tenant(outbox.tenant_id) as session:
        change = ConsentChange(contact_id, f"stop:{contact_id}", "opted_out", now, now, "test")
        record_consents(session, outbox.tenant_id, [change], now, "key")


class TestOptOut:
    def test_before_the_gate_it_stops_the_send(self, sender, outbox, cloud_api, worker_database):
        ids = outbox.add(3)
        opt_out(worker_database, outbox, contact_of(outbox, ids[0]))
        assert sender.dispatch(outbox.tenant_id) == {"accepted": 2}
        assert str(ids[0]) not in cloud_api.sends

    def test_it_waits_for_no_answer_and_says_from_when_nothing_starts(self, sender, outbox, cloud_api, worker_database):
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
        opt_out(worker_database, outbox, contact_id)
        release.set()
        sending.join(10)
        query = (
            "SELECT a.started_at, c.effective_at FROM send_attempts a JOIN outbound_messages o"
            " ON o.id = a.outbound_message_id JOIN consents c ON c.contact_id = o.contact_id WHERE o.id = %s"
        )
        started_at, effective_at = outbox.one(query, message_id)
        assert effective_at == started_at + dt.timedelta(seconds=START_SECONDS)
        assert outbox.states() == {"accepted": 1}

    def test_a_worker_that_stood_still_since_the_gate_sends_nothing(self, sender, outbox, cloud_api):
        outbox.add(3, due_at=utc_now() - dt.timedelta(hours=1))
        early = dataclasses.replace(sender, clock=lambda: utc_now() - dt.timedelta(seconds=START_SECONDS))
        started = start_batch(early, outbox.tenant_id, outbox.number_id)
        assert outbox.states() == {"sending": 3}
        assert finish_batch(sender, outbox.tenant_id, started) == {"queued": 3}
        assert cloud_api.requests == []

    def test_whose_consent_is_being_changed_is_left_for_the_next_batch(
        self, sender, outbox, cloud_api, worker_database
    ):
        ids = outbox.add(2)
        with worker_database.tenant(outbox.tenant_id) as session:
            now = utc_now()
            change = ConsentChange(contact_of(outbox, ids[0]), "stop", "opted_out", now, now, "test")
            record_consents(session, outbox.tenant_id, [change], now, "key")
            started = start_batch(sender, outbox.tenant_id, outbox.number_id)
            assert [item.id for item, _ in started.messages] == [ids[1]]
        assert finish_batch(sender, outbox.tenant_id, started) == {"accepted": 1}
        assert sender.dispatch(outbox.tenant_id) == {}
        assert outbox.states() == {"accepted": 1, "suppressed": 1}

    def test_pausing_a_campaign_under_way_leaves_its_messages_queued(self, sender, outbox, cloud_api, worker_database):
        outbox.add(2)
        with worker_database.tenant(outbox.tenant_id) as session:
            session.execute(
                sa.text("UPDATE campaigns SET status = 'paused' WHERE id = :id"), {"id": outbox.campaign_id}
            )
            with pytest.raises(Busy):
                start_batch(sender, outbox.tenant_id, outbox.number_id)
        assert sender.dispatch(outbox.tenant_id) == {}
        assert (outbox.states(), cloud_api.requests) == ({"queued": 2}, [])


class TestRaces:
    def test_what_another_worker_has_under_way_counts_for_the_cap(self, sender, outbox, cloud_api):
        capped = dataclasses.replace(
            sender, settings=sender.settings.model_copy(update={"marketing_cap_per_7_days": 1, "send_batch_size": 1})
        )
        (message_id,) = outbox.add(1)
        again = outbox.add_again(message_id, outbox.add_campaign())
        first = start_batch(capped, outbox.tenant_id, outbox.number_id)
        second = start_batch(capped, outbox.tenant_id, outbox.number_id)
        assert (len(first.messages), len(second.messages)) == (1, 0)
        assert finish_batch(capped, outbox.tenant_id, first) == {"accepted": 1}
        reasons = outbox.all(
            "SELECT reason FROM outbound_messages WHERE id = ANY(%s) AND state = 'suppressed'", [message_id, again]
        )
        assert reasons == [("frequency_cap",)]

    def test_two_batches_never_decide_about_one_person_at_once(self, sender, outbox, worker_database):
        (message_id,) = outbox.add(1)
        single = sender.settings.model_copy(update={"send_batch_size": 1})
        outbox.add_again(message_id, outbox.add_campaign())
        with worker_database.tenant(outbox.tenant_id) as session:
            number = read_number(session, outbox.number_id)
            start(session, outbox.tenant_id, number, 1, utc_now(), single)
            with pytest.raises(Busy):
                start_batch(dataclasses.replace(sender, settings=single), outbox.tenant_id, outbox.number_id)

    def test_a_send_under_way_counts_for_the_pace_of_its_pair(self, sender, outbox):
        (message_id,) = outbox.add(1)
        single = dataclasses.replace(sender, settings=sender.settings.model_copy(update={"send_batch_size": 1}))
        outbox.add_again(message_id, outbox.add_campaign())
        start_batch(single, outbox.tenant_id, outbox.number_id)
        assert start_batch(single, outbox.tenant_id, outbox.number_id).held_back == {"queued": 1}
        assert outbox.all("SELECT reason FROM outbound_messages WHERE state = 'queued' AND tenant_id = %s",
                          outbox.tenant_id) == [("pair_rate",)]  # fmt: skip

    def test_people_under_way_use_up_the_messaging_tier(self, sender, outbox):
        outbox.execute("UPDATE phone_numbers SET messaging_tier = 2 WHERE id = %s", outbox.number_id)
        outbox.add(3)
        pair = dataclasses.replace(sender, settings=sender.settings.model_copy(update={"send_batch_size": 2}))
        assert len(start_batch(pair, outbox.tenant_id, outbox.number_id).messages) == 2
        assert start_batch(pair, outbox.tenant_id, outbox.number_id).held_back == {"queued": 1}

    def test_a_batch_is_no_larger_than_the_drivers_connections(self, sender, outbox):
        outbox.add(5)
        sender.driver_of(number_of(sender, outbox)).connections = 2
        assert len(start_batch(sender, outbox.tenant_id, outbox.number_id).messages) == 2


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
    def later(self, sender):
        return dataclasses.replace(sender, clock=lambda: utc_now() + dt.timedelta(seconds=31))

    def test_a_worker_that_dies_before_the_mark_is_committed_loses_nothing(self, sender, outbox, worker_database):
        outbox.add(2)
        with worker_database.tenant(outbox.tenant_id) as session:
            number = read_number(session, outbox.number_id)
            assert start(session, outbox.tenant_id, number, 10, utc_now(), sender.settings)
            session.rollback()
        assert outbox.states() == {"queued": 2}
        assert sender.dispatch(outbox.tenant_id) == {"accepted": 2}

    def test_what_a_dead_worker_had_marked_is_unknown_once_its_lease_ended(self, sender, outbox, cloud_api):
        outbox.add(2)
        start_batch(sender, outbox.tenant_id, outbox.number_id)
        assert recover(sender, outbox.tenant_id) == 0
        assert recover(self.later(sender), outbox.tenant_id) == 2
        assert outbox.states() == {"unknown": 2}
        assert outbox.all(
            "SELECT DISTINCT outcome FROM send_attempts WHERE tenant_id = %s", outbox.tenant_id
        ) == [("lease_ended",)]  # fmt: skip
        assert sender.dispatch(outbox.tenant_id) == {}
        assert cloud_api.requests == []

    def test_a_stopped_worker_records_late_what_it_was_told(self, sender, outbox):
        outbox.add(2)
        started = start_batch(sender, outbox.tenant_id, outbox.number_id)
        recover(self.later(sender), outbox.tenant_id)
        assert finish_batch(sender, outbox.tenant_id, started) == {"accepted": 2}
        assert outbox.states() == {"accepted": 2}
        assert outbox.one("SELECT count(*) FROM messages WHERE tenant_id = %s", outbox.tenant_id) == (2,)

    def test_what_never_left_a_stopped_worker_is_queued_again(self, sender, outbox, cloud_api):
        outbox.add(1, due_at=utc_now() - dt.timedelta(hours=1))
        early = dataclasses.replace(sender, clock=lambda: utc_now() - dt.timedelta(seconds=40))
        started = start_batch(early, outbox.tenant_id, outbox.number_id)
        assert recover(sender, outbox.tenant_id) == 1
        assert outbox.states() == {"unknown": 1}
        assert finish_batch(sender, outbox.tenant_id, started) == {"queued": 1}
        assert cloud_api.requests == []

    def test_what_another_has_settled_stays_settled(self, sender, outbox):
        (message_id,) = outbox.add(1)
        started = start_batch(sender, outbox.tenant_id, outbox.number_id)
        outbox.execute("UPDATE outbound_messages SET state = 'read' WHERE id = %s", message_id)
        assert finish_batch(sender, outbox.tenant_id, started) == {}
        assert outbox.states() == {"read": 1}

    def test_a_database_that_drops_its_connections_costs_no_answer(self, sender, outbox, cloud_api):
        outbox.add(3)

        def drop(body):
            outbox.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'worker'")

        cloud_api.answer = drop
        assert sender.dispatch(outbox.tenant_id) == {"accepted": 3}
        assert outbox.states() == {"accepted": 3}

    def test_a_message_that_cannot_be_expressed_costs_the_others_nothing(self, sender, outbox):
        ids = outbox.add(3)
        outbox.execute('UPDATE outbound_messages SET payload = \'{"kind": "template"}\' WHERE id = %s', ids[0])
        assert sender.dispatch(outbox.tenant_id) == {"accepted": 2, "suppressed": 1}
        assert outbox.one("SELECT reason FROM outbound_messages WHERE id = %s", ids[0]) == ("invalid_message",)
