"""Whatever a signed body holds, the decoder answers with events whose fields have their types and bounds."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.driver import NumberConfig
from gateway.drivers.cloud_api.fields import EARLIEST, LONGEST_ID, LONGEST_TEXT
from gateway.registry import build_driver
from gateway.types import (
    DeliveryEvent,
    GatewayEvent,
    InboundMessage,
    MessageEcho,
    OtherEvent,
    PhoneNumber,
    PreferenceEvent,
)

from .webhook_bodies import VALUES, body, captured, spoil, spoil_bytes

DRIVER = build_driver("cloud_api", NumberConfig("http://127.0.0.1:1", "10", "token", "secret", "verify"))
GOOD = (
    "messages",
    {"messages": [{"id": "good", "from": "999100000099", "timestamp": "1770000000", "type": "text",
                   "text": {"body": "STOP"}}]},
)  # fmt: skip
IDS = ("provider_id", "reply_to", "media_id", "edits", "sender_user_id", "phone_number_id", "callback_data")
TEXTS = ("text", "profile_name", "kind", "event_key", "problem")
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=20,
)


def check(event: GatewayEvent) -> None:
    """Raises AssertionError where a field is not what its class says."""
    now = datetime.now(UTC)
    assert EARLIEST <= event.occurred_at <= now + timedelta(days=1, minutes=1)
    for name in IDS + TEXTS:
        value = getattr(event, name, None)
        assert value is None or isinstance(value, str), name
        if value is not None:
            longest = LONGEST_TEXT if name in TEXTS and name != "event_key" else LONGEST_ID + 100
            assert len(value) <= max(longest, len(getattr(event, "field", "")) + 100), name
            if name not in ("event_key",):
                assert "\x00" not in value, name
                value.encode()
    for name in ("sender", "recipient"):
        value = getattr(event, name, None)
        assert value is None or (isinstance(value, PhoneNumber) and value.e164[1:].isascii()), name
    if isinstance(event, DeliveryEvent):
        assert all(type(code) is int and abs(code) < 2**31 for code in event.errors)
    if isinstance(event, InboundMessage) and event.order is not None:
        assert event.order.total_cents < 2**63
        for item in event.order.items:
            assert 0 <= item.quantity < 2**31
            assert 0 <= item.price_cents < 2**63
            assert isinstance(item.product_id, str)
            assert isinstance(item.currency, str)
    assert isinstance(event, (DeliveryEvent, InboundMessage, MessageEcho, OtherEvent, PreferenceEvent))


def read(written: bytes) -> list[GatewayEvent]:
    """The events, each checked, and checked to come back the same from storage."""
    received_at = datetime.now(UTC)
    events = DRIVER.parse_webhook(written)
    for event in events:
        check(event)
        (again,) = DRIVER.parse_change(json.loads(json.dumps(event.raw)), received_at)
        assert type(again) is type(event)
        # The time of the receipt stands in where there is none; it is the caller's.
        assert dataclasses.replace(again, occurred_at=event.occurred_at) == event
    return events


@pytest.mark.parametrize("field_and_value", VALUES, ids=lambda value: value[0])
def test_every_kind_is_read_without_a_problem(field_and_value):
    (event,) = read(json.dumps(body("10", field_and_value)).encode())
    assert event.problem is None


@settings(max_examples=300, deadline=None)
@given(kind=st.sampled_from(VALUES), seed=st.integers(0, 2**32), times=st.integers(1, 4))
def test_a_spoilt_change_is_read_within_bounds_and_costs_its_neighbour_nothing(kind, seed, times):
    chance = Random(seed)
    document = body("10", kind, GOOD)
    changes = document["entry"][0]["changes"]
    for _ in range(times):
        # The list around it lets the change itself be replaced; what is put beside it stays outside.
        held = spoil([changes[0]], chance)
        changes[0] = held[0] if held else None
    events = read(json.dumps(document).encode())
    assert [event.text for event in events if isinstance(event, InboundMessage) and event.provider_id == "good"] == [
        "STOP"
    ]


@settings(max_examples=200, deadline=None)
@given(kinds=st.lists(st.sampled_from(VALUES), max_size=3), seed=st.integers(0, 2**32), times=st.integers(1, 5))
def test_a_body_spoilt_anywhere_is_read_within_bounds(kinds, seed, times):
    chance = Random(seed)
    document = body("10", *kinds)
    for _ in range(times):
        spoil([document], chance)
    read(json.dumps(document).encode())
    read(spoil_bytes(json.dumps(document).encode(), chance))


@settings(max_examples=200, deadline=None)
@given(part=json_values, kind=st.sampled_from(["entry", "changes", "value", "messages", "statuses", "contacts"]))
def test_any_json_in_any_place_is_read_within_bounds(part, kind):
    document = body("10", VALUES[0])
    change = document["entry"][0]["changes"][0]
    holder = {"entry": document, "changes": document["entry"][0], "value": change}.get(kind, change["value"])
    holder[kind] = part
    read(json.dumps(document).encode())


@settings(max_examples=200, deadline=None)
@given(written=st.binary(max_size=200))
def test_any_bytes_are_read(written):
    assert read(written)


@pytest.mark.skipif(not captured(), reason="no shared/data/whatsapp_webhooks beside the checkout")
def test_captured_bodies_are_read_within_bounds_however_spoilt():
    for path in captured():
        written = path.read_bytes()
        read(written)
        for seed in range(20):
            chance = Random(f"{path.name} {seed}")
            document = json.loads(written)
            spoil(document, chance)
            spoil(document, chance)
            read(json.dumps(document).encode())
