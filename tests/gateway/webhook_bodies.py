"""Webhook bodies of every kind the receiver reads, and ways to spoil them."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from random import Random
from typing import Any

MESSAGE = {"id": "wamid.1", "from": "999100000071", "timestamp": "1770000000"}
CONTENTS: list[dict[str, Any]] = [
    {"type": "text", "text": {"body": "hello"}, "context": {"from": "1", "id": "wamid.0"}},
    {"type": "text", "text": {"body": "STOP"}, "referral": {"source_url": "https://example.com", "headline": "x"}},
    {"type": "image", "image": {"id": "5", "mime_type": "image/jpeg", "sha256": "x", "caption": "see"}},
    {"type": "audio", "audio": {"id": "6", "voice": True}},
    {"type": "document", "document": {"id": "7", "filename": "a.pdf", "caption": "b"}},
    {"type": "button", "button": {"payload": "p", "text": "Yes"}},
    {"type": "interactive", "interactive": {"type": "button_reply", "button_reply": {"id": "1", "title": "Yes"}}},
    {"type": "interactive", "interactive": {"type": "nfm_reply", "nfm_reply": {"body": "Sent", "response_json": "{}"}}},
    {"type": "reaction", "reaction": {"message_id": "wamid.0", "emoji": "👍"}},
    {"type": "location", "location": {"latitude": 1.5, "longitude": 2.5, "name": "here"}},
    {"type": "contacts", "contacts": [{"name": {"formatted_name": "A"}, "phones": [{"phone": "+1"}]}]},
    {"type": "system", "system": {"body": "changed", "wa_id": "999100000072", "type": "user_changed_number"}},
    {"type": "unsupported", "errors": [{"code": 131051, "title": "Unsupported"}]},
    {
        "type": "order",
        "order": {
            "catalog_id": "1",
            "text": "soon",
            "product_items": [
                {"product_retailer_id": "tea", "quantity": 2, "item_price": 8.29, "currency": "EUR"},
                {"product_retailer_id": "mug", "quantity": "1", "item_price": "12", "currency": "EUR"},
            ],
        },
    },
]
STATUS = {"id": "wamid.9", "recipient_id": "999100000071", "timestamp": "1770000001"}
STATUSES: list[dict[str, Any]] = [
    {"status": "sent", "conversation": {"id": "c", "expiration_timestamp": "1770000002", "origin": {"type": "x"}}},
    {"status": "delivered", "pricing": {"billable": True, "pricing_model": "PMP", "category": "marketing"}},
    {"status": "read", "biz_opaque_callback_data": "0b2ad1b4-14a1-4c9c-b0aa-6a40c6a0c6f4"},
    {"status": "failed", "errors": [{"code": 131050, "title": "x", "error_data": {"details": "y"}}]},
    {"status": "played"},
    {"status": "deleted"},
]
VALUES: list[tuple[str, dict[str, Any]]] = [
    *(("messages", {"messages": [MESSAGE | content]}) for content in CONTENTS),
    *(("messages", {"statuses": [STATUS | status]}) for status in STATUSES),
    ("messages", {"errors": [{"code": 130429, "title": "Rate limit"}]}),
    (
        "smb_message_echoes",
        {"message_echoes": [MESSAGE | {"to": "999100000071", "type": "text", "text": {"body": "Hi"}}]},
    ),
    (
        "smb_message_echoes",
        {
            "message_echoes": [
                MESSAGE
                | {
                    "to": "999100000071",
                    "type": "edit",
                    "edit": {"original_message_id": "w", "message": {"type": "text", "text": {"body": "Hi"}}},
                }
            ]
        },
    ),
    ("message_template_status_update", {"event": "APPROVED", "message_template_id": 1, "reason": None}),
    ("message_template_quality_update", {"previous_quality_score": "GREEN", "new_quality_score": "RED"}),
    ("template_category_update", {"message_template_id": 1, "new_category": "MARKETING"}),
    ("phone_number_quality_update", {"event": "FLAGGED", "current_limit": "TIER_1K"}),
    ("account_update", {"event": "DISABLED_UPDATE", "ban_info": {"waba_ban_state": "SCHEDULE_FOR_DISABLE"}}),
    (
        "user_preferences",
        {
            "user_preferences": [
                {"wa_id": "999100000071", "category": "marketing_messages", "value": "stop", "timestamp": 1770000000}
            ]
        },
    ),
    ("calls", {"calls": [{"id": "c", "event": "connect", "timestamp": "1770000000"}]}),
]
NOTHING: Any = object()
# What stands in for a value: of every type, at the edges of each.
ODD: list[Any] = [
    None, True, False, 0, -1, 7, 10**14, 10**30, 10**400, 1.5, -0.0, 1e300, float("inf"), float("nan"), "", "0", "x",
    "1e99999", "1e999990", "-1", "9" * 5000, "nul \x00", "half \ud83d", "😀" * 3000, "٣٤٥٦٧٨٩", "+999100000071",
    "x" * 70_000, [], {}, [[]], [None], ["a", 1], {"a": 1}, {"": {}}, {"id": {"id": {}}}, [{}] * 50, {"body": []},
    {"type": {}}, "32503680000", "-62135596800", "1770000000", 1770000000, "unreadable", NOTHING,
]  # fmt: skip


def body(number: str, *values: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    """A delivery of one change for each (field, value), about our `number`."""
    envelope = {
        "messaging_product": "whatsapp",
        "metadata": {"display_phone_number": "999", "phone_number_id": number},
        "contacts": [{"wa_id": "999100000071", "profile": {"name": "Ann"}}],
    }
    changes = [{"field": field, "value": envelope | value} for field, value in values]
    entry = {"id": "1", "time": 1770000000, "changes": json.loads(json.dumps(changes))}
    return {"object": "whatsapp_business_account", "entry": [entry]}


def captured() -> list[Path]:
    """Bodies kept beside the checkout on some machines."""
    for parent in Path(__file__).resolve().parents:
        folder = parent.parent / "shared" / "data" / "whatsapp_webhooks"
        if folder.is_dir():
            return sorted(folder.glob("[0-9]*.json"))
    return []


def spoil(document: Any, chance: Random) -> Any:
    """The document with one value of it replaced, left out or put elsewhere. It stays as it is once it is large."""
    if len(json.dumps(document)) > 100_000:
        return document
    places = _places(document)
    holder, key = chance.choice(places)
    odd = chance.choice(ODD)
    what = chance.random()
    if odd is NOTHING:
        del holder[key]
    elif what < 0.1:
        other, place = chance.choice(places)
        holder[key] = json.loads(json.dumps(other[place]))
    elif what < 0.15 and isinstance(holder, dict):
        holder["x" if odd in ({}, []) else str(odd)[:100]] = holder.pop(key)
    elif what < 0.2 and isinstance(holder, list):
        holder.extend(json.loads(json.dumps([holder[key]] * chance.randint(1, 40))))
    else:
        holder[key] = copy.deepcopy(odd)
    return document


def spoil_bytes(written: bytes, chance: Random) -> bytes:
    """The bytes with some of them changed, left out or repeated."""
    at, length = chance.randrange(len(written)), chance.randint(1, 20)
    filling = chance.choice([b"", b"\xff", b"\x00", b"{", b"[" * 3000, b'"', b",", b"1" * 6000, b"\\ud800", b"}"])
    return written[:at] + filling + written[at + (length if chance.random() < 0.5 else 0) :]


def _places(document: Any) -> list[tuple[Any, Any]]:
    found, waiting = [], [document]
    while waiting:
        holder = waiting.pop()
        for key in list(holder) if isinstance(holder, dict) else range(len(holder)):
            found.append((holder, key))
            if isinstance(holder[key], (dict, list)):
                waiting.append(holder[key])
    return found
