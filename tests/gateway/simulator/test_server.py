import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from gateway.errors import Reaction, SendRejected
from gateway.simulator.history import HistoryRequest, default_campaigns, generate
from gateway.simulator.people import draw_people
from gateway.types import (
    DeliveryEvent,
    InboundMessage,
    MessageEcho,
    OutboundMessage,
    PhoneNumber,
    PreferenceEvent,
    SendReceipt,
    Status,
)

ROOT = Path(__file__).resolve().parents[3]
TOKEN, NUMBER, WABA = "token", "100000000000001", "200000000000001"
UNTIL = "2026-06-01T12:00:00+00:00"


def template(phone: str, name: str = "coffee_discount") -> OutboundMessage:
    soon = datetime.now(UTC) + timedelta(seconds=30)
    return OutboundMessage(
        uuid4(), PhoneNumber.parse(phone), "template", soon, template_name=name, template_language="en"
    )


def text(phone: str) -> OutboundMessage:
    return OutboundMessage(
        uuid4(), PhoneNumber.parse(phone), "text", datetime.now(UTC) + timedelta(seconds=30), text="Hi"
    )


class TestSend:
    def test_a_batch_is_accepted_and_its_statuses_name_our_ids(self, eventually, start_simulator, receiver):
        simulator = start_simulator()
        messages = [template(person["phone"]) for person in simulator.people()[:100]]
        receipts = simulator.driver().send_all(messages)
        assert all(isinstance(receipt, SendReceipt) for receipt in receipts)

        def delivered():
            events = [event for event in receiver.events if isinstance(event, DeliveryEvent)]
            return {event.message_id for event in events if event.status is Status.DELIVERED} == {
                m.message_id for m in messages
            }

        eventually(delivered)
        eventually(
            lambda: any(event.status is Status.READ for event in receiver.events if isinstance(event, DeliveryEvent))
        )
        by_id = {receipt.provider_id: receipt.message_id for receipt in receipts}
        for event in receiver.events:
            assert event.phone_number_id == NUMBER
            assert event.occurred_at <= datetime.now(UTC)
            if isinstance(event, DeliveryEvent):
                assert by_id[event.provider_id] == event.message_id
        assert {truth["provider_id"] for truth in simulator.truths()} == set(by_id)

    @pytest.mark.parametrize(
        ("make", "code", "reaction"),
        [
            (lambda phone: template("+999000000000"), 131026, Reaction.THIS_CONTACT),
            (text, 131047, Reaction.THIS_CONTACT),
            (lambda phone: template(phone, "never_registered"), 132001, Reaction.STOP_TEMPLATE),
        ],
    )
    def test_refusals_have_the_codes_of_the_cloud_api(self, start_simulator, make, code, reaction):
        simulator = start_simulator()
        with pytest.raises(SendRejected) as refused:
            simulator.driver().send(make(simulator.people()[0]["phone"]))
        assert (refused.value.code, refused.value.reaction) == (code, reaction)

    def test_a_wrong_token_stops_the_number(self, start_simulator):
        simulator = start_simulator()
        with pytest.raises(SendRejected) as refused:
            simulator.driver(token="stolen").send(template(simulator.people()[0]["phone"]))
        assert (refused.value.code, refused.value.http_status) == (190, 401)
        assert refused.value.reaction is Reaction.STOP_NUMBER

    def test_too_fast_is_told_to_back_off(self, start_simulator):
        simulator = start_simulator(**{"messages-per-second": 5})
        results = simulator.driver().send_all([template(person["phone"]) for person in simulator.people()[:40]])
        refused = [result for result in results if isinstance(result, SendRejected)]
        assert refused
        assert {(error.code, error.reaction) for error in refused} == {(130429, Reaction.BACK_OFF)}
        assert sum(isinstance(result, SendReceipt) for result in results) >= 5

    def test_a_registered_template_can_be_sent(self, start_simulator):
        simulator = start_simulator()
        body = {"name": "spring", "language": "en", "category": "MARKETING", "components": []}
        headers = {"Authorization": f"Bearer {TOKEN}"}
        assert simulator.http.post(f"/v26.0/{WABA}/message_templates", json=body, headers=headers).status_code == 200
        assert (
            simulator.driver().send(template(simulator.people()[0]["phone"], "spring")).provider_id.startswith("wamid.")
        )

    def test_a_driver_finds_the_templates_that_can_be_sent_and_no_others(self, start_simulator):
        simulator = start_simulator()
        body = {"type": "BODY", "text": "Spring, {{1}}!"}
        registered = {"name": "spring", "language": "de", "category": "MARKETING", "components": [body]}
        headers = {"Authorization": f"Bearer {TOKEN}"}
        simulator.http.post(f"/v26.0/{WABA}/message_templates", json=registered, headers=headers)
        driver = simulator.driver()
        found = [driver.templates(WABA, name) for name in ("coffee_discount", "spring", "coffee", "nothing")]
        known = [[(one.name, one.language, one.status, one.variables) for one in some] for some in found]
        assert known == [
            [("coffee_discount", "en", "APPROVED", None)], [("spring", "de", "APPROVED", 1)], [], []
        ]  # fmt: skip
        with pytest.raises(SendRejected):
            driver.templates("another account", "spring")

    def test_a_described_campaign_changes_what_people_do(self, start_simulator):
        simulator = start_simulator()
        description = {"template_name": "weekly_offer", "attributes": {"category": "tea", "discount_rate": 0.5}}
        phones = [person["phone"] for person in simulator.people()]
        simulator.driver().send_all([template(phone, "weekly_offer") for phone in phones])
        before = {truth["phone"]: truth["p_order"] for truth in simulator.truths()}
        assert simulator.http.post("/simulator/campaigns", json=description).status_code == 201
        simulator.driver().send_all([template(phone, "weekly_offer") for phone in phones])
        after = {truth["phone"]: truth["p_order"] for truth in simulator.truths()[len(phones) :]}
        assert sum(after.values()) > 1.5 * sum(before.values())


class TestSubscription:
    @pytest.mark.parametrize(("verify_token", "status"), [("verify", 200), ("wrong", 400)])
    def test_the_webhook_must_echo_the_challenge(self, start_simulator, verify_token, status):
        simulator = start_simulator(**{"verify-token": verify_token})
        headers = {"Authorization": f"Bearer {TOKEN}"}
        assert simulator.http.post(f"/v26.0/{WABA}/subscribed_apps", headers=headers).status_code == status


class TestSay:
    def test_what_a_person_says_arrives_and_opens_the_window(self, eventually, start_simulator, receiver):
        simulator = start_simulator()
        phone = simulator.people()[0]["phone"]
        simulator.http.post("/simulator/say", json={"phone": phone, "text": "Hello?"})
        eventually(lambda: receiver.events)
        (said,) = receiver.events
        assert isinstance(said, InboundMessage)
        assert (said.sender, said.text) == (PhoneNumber(phone), "Hello?")
        assert simulator.driver().send(text(phone)).provider_id

    def test_a_button_and_a_preference_arrive_as_the_provider_sends_them(self, eventually, start_simulator, receiver):
        simulator = start_simulator()
        phone = simulator.people()[0]["phone"]
        assert simulator.http.post("/simulator/say", json={"phone": phone, "button": "Stop promotions"}).is_success
        assert simulator.http.post("/simulator/preferences", json={"phone": phone, "value": "stop"}).is_success
        eventually(lambda: len(receiver.events) == 2)
        pressed = next(event for event in receiver.events if isinstance(event, InboundMessage))
        told = next(event for event in receiver.events if isinstance(event, PreferenceEvent))
        assert (pressed.kind, pressed.text, pressed.choice) == ("button", "Stop promotions", "Stop promotions")
        assert (told.person, told.category, told.value) == (PhoneNumber(phone), "marketing_messages", "stop")
        simulator.driver().send(template(phone))
        assert [truth["p_read"] for truth in simulator.truths()] == [0.0]

    @pytest.mark.parametrize("asked", [{"value": "pause"}, {}, {"value": ["stop"]}])
    def test_a_preference_that_whatsapp_does_not_know_is_refused(self, start_simulator, asked):
        simulator = start_simulator()
        phone = simulator.people()[0]["phone"]
        assert simulator.http.post("/simulator/preferences", json={"phone": phone} | asked).status_code == 422

    def test_nobody_reads_marketing_after_their_stop(self, start_simulator):
        simulator = start_simulator()
        phone = simulator.people()[0]["phone"]
        simulator.http.post("/simulator/say", json={"phone": phone, "text": "STOP"})
        simulator.driver().send(template(phone))
        assert [truth["p_read"] for truth in simulator.truths()] == [0.0]


class TestHistory:
    def test_the_whole_past_arrives_signed_once_and_in_order(self, eventually, start_simulator, receiver):
        simulator = start_simulator()
        answer = simulator.http.post("/simulator/history", json={"until": UNTIL})
        assert answer.status_code == 202
        eventually(lambda: simulator.status()["state"] == "done")
        moment = datetime.fromisoformat(UNTIL)
        request = HistoryRequest(until=moment, campaigns=default_campaigns(90, moment, 7))
        expected = generate(draw_people(200, 7), request, 7, NUMBER)
        keys = [event.event_key for event in receiver.events]
        assert len(keys) == len(set(keys)) == len(expected.events) == simulator.status()["total"]
        kinds = {type(event) for event in receiver.events}
        assert kinds == {MessageEcho, DeliveryEvent, InboundMessage}
        joins = [e for e in receiver.events if isinstance(e, InboundMessage) and (e.text or "").lower() == "join"]
        assert len(joins) == sum(person["joined"] is not None for person in simulator.people())
        assert any(e.order and e.order.total_cents > 0 for e in receiver.events if isinstance(e, InboundMessage))
        callbacks = {e.callback_data for e in receiver.events if isinstance(e, DeliveryEvent) and e.callback_data}
        assert callbacks == {plan.callback_data for plan in request.campaigns}
        truths = simulator.http.get("/simulator/truth/contacts", params={"at": "2026-05-01T00:00:00+00:00"})
        assert len(truths.text.splitlines()) > 100

    def test_asking_twice_is_one_history_and_another_is_refused(self, start_simulator):
        simulator = start_simulator(people=20)
        first = simulator.http.post("/simulator/history", json={"until": UNTIL}).json()
        assert simulator.http.post("/simulator/history", json={"until": UNTIL}).json() == first
        assert simulator.http.post("/simulator/history", json={"until": UNTIL, "days": 30}).status_code == 409
        assert simulator.http.post("/simulator/history", json={"days": -1}).status_code == 422

    def test_killed_while_posting_it_goes_on_where_it_was_acknowledged(self, eventually, start_simulator, receiver):
        receiver.delay_seconds = 0.15
        simulator = start_simulator()
        simulator.http.post("/simulator/history", json={"until": UNTIL})
        eventually(lambda: len(receiver.deliveries) >= 6)
        simulator.kill()
        time.sleep(0.3)
        before = len(receiver.events)
        receiver.delay_seconds = 0
        again = start_simulator()
        eventually(lambda: again.status()["state"] == "done")
        keys = [event.event_key for event in receiver.events]
        assert len(set(keys)) == again.status()["total"]
        # At most the bodies in flight are posted twice.
        assert before > 0
        assert len(keys) - len(set(keys)) <= 4 * 500


class TestRestart:
    def test_events_owed_at_a_kill_arrive_afterwards(self, eventually, start_simulator, receiver):
        receiver.status = 503
        simulator = start_simulator()
        people = simulator.people()
        simulator.http.post("/simulator/say", json={"phone": people[1]["phone"], "text": "STOP"})
        receipts = simulator.driver().send_all([template(person["phone"]) for person in people[:50]])
        truths = simulator.truths()
        simulator.kill()
        assert receiver.events == []
        receiver.status = 200
        again = start_simulator()
        assert again.truths() == truths
        wanted = {receipt.provider_id for receipt in receipts}

        def delivered():
            events = [event for event in receiver.events if isinstance(event, DeliveryEvent)]
            return {event.provider_id for event in events if event.status is Status.DELIVERED} == wanted

        eventually(delivered)
        again.driver().send(template(people[1]["phone"]))
        assert again.truths()[-1]["p_read"] == 0.0


class TestSettings:
    @pytest.mark.parametrize(
        ("changed", "named"),
        [
            ({"--people": "0"}, "--people"),
            ({"--webhook-url": "nowhere"}, "--webhook-url"),
            ({"--app-secret": ""}, "--app-secret"),
        ],
    )
    def test_a_bad_setting_is_named_on_one_line(self, tmp_path, changed, named):
        options = {
            "--state-dir": str(tmp_path),
            "--webhook-url": "http://127.0.0.1:1/",
            "--app-secret": "s",
            "--access-token": "t",
        }
        command = [sys.executable, "-m", "gateway.simulator"]
        for name, value in {**options, **changed}.items():
            command += [name, value]
        ended = subprocess.run(
            command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
        )
        assert ended.returncode == 2
        (line,) = ended.stderr.splitlines()
        assert named in line

    def test_a_state_directory_of_other_people_is_refused(self, start_simulator):
        start_simulator().close()
        with pytest.raises(AssertionError, match="ended"):
            start_simulator(seed=8)
