import json
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from gateway.driver import NumberConfig
from gateway.drivers.cloud_api.webhook import sign
from gateway.errors import ForgedWebhook
from gateway.registry import build_driver
from gateway.types import DeliveryEvent, InboundMessage, MessageEcho, OtherEvent, PhoneNumber, PreferenceEvent, Status

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
        assert events[0].problem == "status: no word"

    @pytest.mark.parametrize(
        ("change", "problem"),
        [
            ({"context": {"id": {}}}, "context.id: no id"),
            ({"timestamp": "9" * 5000}, "timestamp: no number in range"),
            ({"timestamp": "32503680000"}, "timestamp: no moment that can be true"),
            ({"timestamp": None}, "timestamp: missing"),
            ({"from_user_id": ["US.1"]}, "from_user_id: no id"),
            ({"text": {"body": "stop", "preview": []}}, None),
        ],
    )
    def test_what_decorates_a_message_costs_it_nothing(self, change, problem):
        message = {
            "id": "w",
            "from": "491511234567",
            "timestamp": "1700000000",
            "type": "text",
            "text": {"body": "stop"},
        }
        (event,) = DRIVER.parse_webhook(body("messages", {"messages": [message | change]}))
        assert isinstance(event, InboundMessage)
        assert (event.text, event.sender, event.problem) == ("stop", PhoneNumber("+491511234567"), problem)

    @pytest.mark.parametrize("name", [{}, [], 3, True, {"a": "b"}])
    def test_a_profile_that_is_none_names_nobody(self, name):
        message = {"id": "w", "from": "49151", "timestamp": "1700000000", "type": "text", "text": {"body": "stop"}}
        for profile in ({"name": name}, name):
            people = [{"wa_id": "49151", "profile": profile}]
            (event,) = DRIVER.parse_webhook(body("messages", {"contacts": people, "messages": [message]}))
            assert (event.text, event.profile_name) == ("stop", None)

    @pytest.mark.parametrize(
        "price", ["1e99999", "1e999990", "1e99", "-1", "NaN", 1e300, float("inf"), {}, True, "1" * 50]
    )
    def test_a_cart_with_an_impossible_price_is_no_order(self, price):
        items = [{"product_retailer_id": "tea", "quantity": 2, "item_price": price, "currency": "EUR"}]
        message = {"id": "w", "from": "491511234567", "timestamp": "1700000000", "type": "order"}
        message["order"] = {"catalog_id": "c", "product_items": items}
        (event,) = DRIVER.parse_webhook(body("messages", {"messages": [message]}))
        assert isinstance(event, InboundMessage)
        assert event.order is None
        assert "cart that cannot be read" in event.problem

    def test_what_every_event_carries_is_small(self):
        people = [{"wa_id": "49151", "profile": {"name": "A"}, "photo": "x" * 100_000}]
        metadata = {"phone_number_id": "10", "more": "y" * 100_000}
        messages = [{"id": f"w{n}", "from": "49151", "timestamp": "1700000000", "type": "text"} for n in range(50)]
        value = {"metadata": metadata, "contacts": people, "messages": messages}
        events = DRIVER.parse_webhook(body("messages", value))
        assert [event.profile_name for event in events] == ["A"] * 50
        assert sum(len(json.dumps(event.raw)) for event in events) < 50_000

    @pytest.mark.parametrize(
        "text",
        [
            b"", b"[]", b"{}{", b'{"entry": 1}', b'{"entry": [{"changes": [{"field": "x"}]}]}', b"\xff",
            b'{"entry": [3, {"changes": 3}]}', b'{"entry": ' + b"[" * 100_000,
            b'{"entry": ' + b"[" * 60 + b"]" * 60 + b"}",
        ],
        ids=range(9),
    )  # fmt: skip
    def test_what_is_no_webhook_body_is_kept_as_it_came(self, text):
        for event in DRIVER.parse_webhook(text):
            assert isinstance(event, OtherEvent)
            assert event.problem
            assert DRIVER.parse_change(json.loads(json.dumps(event.raw)), event.occurred_at) == [event]

    def test_what_cannot_be_read_belongs_to_the_one_number_it_names(self):
        broken = body("messages", {"statuses": []})[:-1]
        assert [event.phone_number_id for event in DRIVER.parse_webhook(broken)] == ["10"]
        two = broken.replace(b'"messages"', b'{"phone_number_id": "11"}')
        assert [event.phone_number_id for event in DRIVER.parse_webhook(two)] == [None]

    def test_a_change_that_names_our_own_mark_gains_nothing_by_it(self):
        change = {"field": "unreadable", "value": {"part": 3, "metadata": {"phone_number_id": "nul \x00"}}}
        (event,) = DRIVER.parse_webhook(json.dumps({"entry": [{"changes": [change]}]}).encode())
        assert event.problem
        assert event.phone_number_id is None

    def test_an_odd_change_costs_the_others_nothing(self):
        good = json.loads(body("messages", {"statuses": [{"id": "w", "status": "read", "timestamp": "1700000000"}]}))
        good["entry"][0]["changes"].insert(0, "odd")
        events = DRIVER.parse_webhook(json.dumps(good).encode())
        assert [(type(event), event.problem is None) for event in events] == [
            (OtherEvent, False),
            (DeliveryEvent, True),
        ]

    def test_a_delivery_of_more_than_the_provider_sends_is_kept_whole(self):
        statuses = [{"id": f"w{n}", "status": "read", "timestamp": "1700000000"} for n in range(2500)]
        (event,) = DRIVER.parse_webhook(body("messages", {"statuses": statuses}))
        assert event.problem == "more events than a delivery holds"

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
        expected = {"message_": InboundMessage, "status_": DeliveryEvent, "smb_message": MessageEcho,
                    "user_preferences": PreferenceEvent}  # fmt: skip
        for path in self.bodies():
            prefix = path.name[4:]
            if prefix.startswith("message_template"):
                kind = OtherEvent
            else:
                kind = next((event for start, event in expected.items() if prefix.startswith(start)), OtherEvent)
            assert isinstance(DRIVER.parse_webhook(path.read_bytes())[0], kind), path.name

    def test_trailing_data_is_malformed(self):
        for path in (CAPTURED / "malformed").iterdir():
            (event,) = DRIVER.parse_webhook(path.read_bytes())
            assert event.problem == "not JSON"


class TestPreferences:
    ITEM = {"wa_id": "999100000009", "category": "marketing_messages", "value": "stop", "timestamp": 1770000000,
            "detail": "User requested to stop marketing messages"}  # fmt: skip

    def test_each_is_an_event_that_gives_itself_again(self):
        items = [self.ITEM, self.ITEM | {"value": "resume", "timestamp": 1770000060}]
        events = DRIVER.parse_webhook(body("user_preferences", {"user_preferences": items}))
        assert [(event.person, event.category, event.value) for event in events] == [
            (PhoneNumber("+999100000009"), "marketing_messages", value) for value in ("stop", "resume")
        ]
        assert all(isinstance(event, PreferenceEvent) for event in events)
        assert [DRIVER.parse_change(event.raw) for event in events] == [[event] for event in events]
        assert len({event.event_key for event in events}) == 2
        assert not any("999100000009" in event.event_key for event in events)

    @pytest.mark.parametrize("odd", [{}, {"wa_id": "1"}, {"value": "stop", "timestamp": 1770000000}])
    def test_an_odd_one_is_kept_whole_and_costs_the_others_nothing(self, odd):
        events = DRIVER.parse_webhook(body("user_preferences", {"user_preferences": [odd, self.ITEM]}))
        assert [type(event) for event in events] == [OtherEvent, PreferenceEvent]

    def test_a_stop_at_an_odd_time_still_counts(self):
        (event,) = DRIVER.parse_webhook(
            body("user_preferences", {"user_preferences": [self.ITEM | {"timestamp": "soon"}]})
        )
        assert (event.value, event.person) == ("stop", PhoneNumber("+999100000009"))
        assert event.problem


class TestWhatWasSaid:
    @pytest.mark.parametrize(
        ("content", "text", "choice"),
        [
            ({"type": "button", "button": {"text": "Stop promotions", "payload": "STOP"}}, "Stop promotions", "STOP"),
            ({"type": "interactive", "interactive": {"type": "list_reply", "list_reply": {"id": "s", "title": "Stop"}}},
             "Stop", "s"),
            ({"type": "edit", "edit": {"message": {"type": "text", "text": {"body": "stop"}}}}, "stop", None),
            ({"type": "edit", "edit": {"message": {"type": "edit", "edit": {}}}}, None, None),
        ],
    )  # fmt: skip
    def test_buttons_lists_and_edits(self, content, text, choice):
        item = {"id": "wamid.1", "from": "999100000009", "timestamp": "1770000000"} | content
        (event,) = DRIVER.parse_webhook(body("messages", {"messages": [item]}))
        assert (event.text, event.choice) == (text, choice)
