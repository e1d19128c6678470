import json
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from gateway.driver import NumberConfig
from gateway.drivers.cloud_api.webhook import sign
from gateway.errors import ForgedWebhook, MalformedWebhook
from gateway.registry import build_driver
from gateway.types import DeliveryEvent, InboundMessage, MessageEcho, OtherEvent, PhoneNumber, Status

DRIVER = build_driver("cloud_api", NumberConfig("http://127.0.0.1:1", "10", "token", "secret", "verify"))
MESSAGE_ID = "0b2ad1b4-14a1-4c9c-b0aa-6a40c6a0c6f4"


def _captured_folder() -> Path | None:
    for parent in Path(__file__).resolve().parents:
        folder = parent.parent / "shared" / "data" / "whatsapp_webhooks"
        if folder.is_dir():
            return folder
    return None


CAPTURED = _captured_folder()
captured = pytest.mark.skipif(CAPTURED is None, reason="no shared/data/whatsapp_webhooks beside the checkout")


def body(field: str, value: dict) -> bytes:
    value = {"messaging_product": "whatsapp", "metadata": {"phone_number_id": "10"}, **value}
    entry = {"id": "1", "changes": [{"field": field, "value": value}]}
    return json.dumps({"object": "whatsapp_business_account", "entry": [entry]}).encode()


class TestVerify:
    def test_accepts_what_the_provider_signed(self):
        DRIVER.verify({"X-Hub-Signature-256": sign(b"{}", "secret")}, b"{}")

    @pytest.mark.parametrize(
        "headers",
        [
            {},
            {"x-hub-signature-256": ""},
            {"x-hub-signature-256": sign(b"{}", "other")},
            {"x-hub-signature-256": "sha256=é"},
        ],
    )
    def test_refuses_anything_else(self, headers):
        with pytest.raises(ForgedWebhook):
            DRIVER.verify(headers, b"{}")

    def test_refuses_a_changed_body(self):
        with pytest.raises(ForgedWebhook):
            DRIVER.verify({"x-hub-signature-256": sign(b"{}", "secret")}, b"{} ")

    def test_an_empty_secret_accepts_nothing(self):
        driver = build_driver("cloud_api", NumberConfig("http://127.0.0.1:1", "10", "", "", ""))
        with pytest.raises(ForgedWebhook):
            driver.verify({"x-hub-signature-256": sign(b"{}", "")}, b"{}")

    def test_challenge_is_echoed_to_the_right_token_only(self):
        query = {"hub.mode": "subscribe", "hub.verify_token": "verify", "hub.challenge": "42"}
        assert DRIVER.challenge(query) == "42"
        with pytest.raises(ForgedWebhook):
            DRIVER.challenge({**query, "hub.verify_token": "guess"})


class TestParse:
    def test_a_status_carries_our_message_id_and_the_codes(self):
        status = {
            "id": "wamid.A",
            "status": "failed",
            "timestamp": "1700000000",
            "recipient_id": "491511234567",
            "biz_opaque_callback_data": MESSAGE_ID,
            "errors": [{"code": 131026}],
        }
        (event,) = DRIVER.parse_webhook(body("messages", {"statuses": [status]}))
        assert isinstance(event, DeliveryEvent)
        assert event.event_key == "wamid.A:failed"
        assert event.status is Status.FAILED
        assert event.errors == (131026,)
        assert event.message_id == UUID(MESSAGE_ID)
        assert event.occurred_at == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
        assert event.phone_number_id == "10"

    def test_a_status_word_nobody_knows_is_kept(self):
        status = {"id": "wamid.A", "status": "warped", "timestamp": "1700000000"}
        (event,) = DRIVER.parse_webhook(body("messages", {"statuses": [status]}))
        assert event.status is Status.UNKNOWN
        assert event.raw["value"]["statuses"][0]["status"] == "warped"

    def test_an_order_is_in_cents(self):
        items = [{"product_retailer_id": "tea-1", "quantity": 2, "item_price": 8.29, "currency": "EUR"}]
        message = {
            "from": "491511234567",
            "id": "wamid.O",
            "timestamp": "1700000000",
            "type": "order",
            "context": {"id": "wamid.A"},
            "order": {"catalog_id": "c", "product_items": items, "text": "asap"},
        }
        (event,) = DRIVER.parse_webhook(body("messages", {"messages": [message]}))
        assert isinstance(event, InboundMessage)
        assert event.order is not None
        assert event.order.items[0].price_cents == 829
        assert event.order.total_cents == 1658
        assert event.reply_to == "wamid.A"

    def test_a_person_without_a_number_is_known_by_user_id(self):
        message = {"id": "wamid.B", "timestamp": "1700000000", "type": "text", "text": {"body": "hi"}}
        contact = {"user_id": "US.1", "profile": {"name": "Ann"}}
        (event,) = DRIVER.parse_webhook(body("messages", {"contacts": [contact], "messages": [message]}))
        assert (event.sender, event.sender_user_id, event.profile_name) == (None, "US.1", "Ann")

    def test_an_echo_is_not_confused_with_its_status(self):
        echo = {"id": "wamid.A", "to": "491511234567", "timestamp": "1700000000", "type": "text", "text": {"body": "x"}}
        (event,) = DRIVER.parse_webhook(body("smb_message_echoes", {"message_echoes": [echo]}))
        assert isinstance(event, MessageEcho)
        assert event.event_key == "wamid.A:echo"

    def test_one_odd_item_does_not_cost_the_others(self):
        good = {"id": "wamid.A", "status": "read", "timestamp": "1700000000"}
        events = DRIVER.parse_webhook(body("messages", {"statuses": [{"id": "wamid.X"}, good]}))
        assert [type(event) for event in events] == [OtherEvent, DeliveryEvent]

    @pytest.mark.parametrize(
        "text", [b"", b"[]", b"{}{", b'{"entry": 1}', b'{"entry": [{"changes": [{"field": "x"}]}]}', b"\xff"]
    )
    def test_what_is_no_webhook_body_is_malformed(self, text):
        with pytest.raises(MalformedWebhook):
            DRIVER.parse_webhook(text)

    def test_mexican_and_brazilian_ids_become_the_numbers_people_type(self):
        assert PhoneNumber.from_wa_id("5215512345678") == PhoneNumber.parse("+52 55 1234 5678")
        assert PhoneNumber.from_wa_id("551187654321") == PhoneNumber.parse("+55 11 98765-4321")
        assert PhoneNumber.from_wa_id("<WHATSAPP_USER_PHONE_NUMBER>") is None


@captured
class TestCapturedBodies:
    def bodies(self):
        return sorted(CAPTURED.glob("0*.json"))

    def test_every_body_gives_events_that_read_back_the_same(self):
        assert len(self.bodies()) >= 60
        for path in self.bodies():
            events = DRIVER.parse_webhook(path.read_bytes())
            assert events, path.name
            for event in events:
                assert event.occurred_at.tzinfo is UTC, path.name
                assert event.occurred_at.year < 2026, path.name
                assert DRIVER.parse_change(json.loads(json.dumps(event.raw))) == [event], path.name

    def test_each_kind_becomes_its_event(self):
        expected = {"message_": InboundMessage, "status_": DeliveryEvent, "smb_message": MessageEcho}
        for path in self.bodies():
            prefix = path.name[4:]
            if prefix.startswith("message_template"):
                kind = OtherEvent
            else:
                kind = next((event for start, event in expected.items() if prefix.startswith(start)), OtherEvent)
            assert isinstance(DRIVER.parse_webhook(path.read_bytes())[0], kind), path.name

    def test_trailing_data_is_malformed(self):
        for path in (CAPTURED / "malformed").iterdir():
            with pytest.raises(MalformedWebhook):
                DRIVER.parse_webhook(path.read_bytes())
