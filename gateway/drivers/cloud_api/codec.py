"""Ours <-> theirs: request bodies out, one webhook change in."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gateway.drivers.cloud_api.envelope import Envelope
from gateway.drivers.cloud_api.fields import Fields, Json
from gateway.errors import MalformedWebhook, UnsupportedFeature
from gateway.types import (
    DeliveryEvent,
    GatewayEvent,
    InboundMessage,
    MessageEcho,
    OrderItem,
    OrderPayload,
    OtherEvent,
    OutboundMessage,
    PhoneNumber,
    PreferenceEvent,
    Status,
)

STATUS = {status.value: status for status in Status if status is not Status.UNKNOWN}

# Inside these, `id` names a stored media object.
MEDIA_KINDS = frozenset({"audio", "document", "image", "sticker", "video"})
_ENVELOPE = frozenset({"messaging_product", "metadata", "contacts"})
# Inside these lies the text that a person wrote or chose.
_TEXT_KEYS = {
    "text": "body", "button": "text", "reaction": "emoji", "order": "text", "system": "body", "location": "name",
}  # fmt: skip
_LONGEST_USER_ID = 200
_LONGEST_NAME = 200
_LONGEST_CALLBACK = 512
_LONGEST_DETAIL = 500
_MOST_ITEMS = 1000
_MOST_PIECES = 1_000_000
_MOST_CENTS = 10**15
_MOST_CODE = 2**31 - 1
_LONGEST_PROBLEM = 300
_NUMBER_CHANGES = frozenset({"user_changed_number"})


def encode(message: OutboundMessage) -> Json:
    """The body of POST /{phone_number_id}/messages. Raises: UnsupportedFeature."""
    if message.kind not in ("text", "template"):
        raise UnsupportedFeature(f"cloud_api does not send {message.kind}")
    body: Json = {
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        "to": message.to.e164,
        "type": message.kind,
        "biz_opaque_callback_data": str(message.message_id),
    }
    if message.reply_to:
        body["context"] = {"message_id": message.reply_to}
    if message.kind == "text":
        body["text"] = {"body": message.text, "preview_url": False}
        return body
    template: Json = {"name": message.template_name, "language": {"code": message.template_language}}
    if message.template_parameters:
        parameters = [{"type": "text", "text": value} for value in message.template_parameters]
        template["components"] = [{"type": "body", "parameters": parameters}]
    body["template"] = template
    return body


def decode_change(change: Mapping[str, Any], received_at: datetime) -> Iterator[GatewayEvent]:
    """The events of one change. `received_at` stands in where the provider gives no time that can be true.

    Raises: MalformedWebhook when it is no change; an odd item is an OtherEvent with its problem and costs the others
    nothing.
    """
    field, value = change.get("field"), change.get("value")
    if not isinstance(field, str) or not isinstance(value, dict):
        raise MalformedWebhook("a change without field or value")
    decoders = _DECODERS.get(field, {})
    count = sum(len(value[key]) for key in decoders if isinstance(value.get(key), list))
    envelope = Envelope(value, is_shared=count > 1)
    time = change.get("time")
    rest = {key: part for key, part in value.items() if key not in _ENVELOPE}
    problems: list[str] = []
    decoded = False
    for key, decode in decoders.items():
        items = rest.pop(key, None)
        if items is None:
            continue
        decoded = True
        good = [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []
        if not isinstance(items, list) or len(good) < len(items):
            rest[key] = items if not good else [item for item in items if not isinstance(item, dict)]
            problems.append(f"{key}: not a list of objects")
        for item in good:
            event = _read(decode, item, envelope.around(key, item), envelope.phone_number_id, field, time, received_at)
            time = time or int(event.occurred_at.timestamp())
            yield event
    if rest or not decoded:
        whole = {**envelope.metadata, **rest} if decoded else value
        yield _other(field, whole, time, received_at, envelope.phone_number_id, problems)


@dataclass(slots=True)
class _Item:
    """One item to decode: itself, the person it is about, and what the event it becomes has from around it."""

    fields: Fields
    contact: Fields
    received_at: datetime
    around: Json

    def required(self, key: str) -> str:
        value = self.fields.identifier(key)
        if value is None:
            raise MalformedWebhook(f"{key}: no id")
        return value

    def common(self, event_key: str) -> Json:
        """What every event has. To be asked for last: by then all problems are known."""
        occurred_at = self.fields.moment("timestamp", self.received_at)
        problem = "; ".join(dict.fromkeys(self.fields.problems))[:_LONGEST_PROBLEM] or None
        return {**self.around, "event_key": event_key, "occurred_at": occurred_at, "problem": problem}


def _read(
    decode: "_Decoder", content: Json, narrowed: Json, phone_number_id: str | None, field: str, time: Any,
    received_at: datetime,
) -> GatewayEvent:  # fmt: skip
    problems: list[str] = []
    contact = Fields(next(iter(narrowed["contacts"]), {}), problems, "contacts")
    around = {"phone_number_id": phone_number_id, "raw": {"field": field, "value": narrowed}}
    try:
        return decode(_Item(Fields(content, problems), contact, received_at, around))
    except MalformedWebhook as error:
        # One odd item must not cost the others of its body: it is kept whole, under its field.
        return _other(field, narrowed, time, received_at, phone_number_id, [str(error)])


def _status(item: _Item) -> GatewayEvent:
    provider_id, word = item.required("id"), item.fields.word("status")
    if word is None:
        raise MalformedWebhook("status: no word")
    codes = [error.integer("code", -_MOST_CODE, _MOST_CODE) for error in item.fields.objects("errors")]
    return DeliveryEvent(
        provider_id=provider_id,
        status=STATUS.get(word, Status.UNKNOWN),
        recipient=PhoneNumber.from_wa_id(item.fields.word("recipient_id")),
        callback_data=item.fields.text("biz_opaque_callback_data", _LONGEST_CALLBACK),
        errors=tuple(code for code in codes if code is not None),
        **item.common(f"{provider_id}:{word}"),
    )


def _message(item: _Item) -> GatewayEvent:
    fields, provider_id = item.fields, item.required("id")
    kind = fields.word("type") or "unknown"
    content = _content(fields, kind)
    replied = fields.object("context").identifier("id")
    return InboundMessage(
        provider_id=provider_id,
        sender=PhoneNumber.from_wa_id(fields.word("from")),
        sender_user_id=fields.identifier("from_user_id", _LONGEST_USER_ID)
        or item.contact.identifier("user_id", _LONGEST_USER_ID),
        profile_name=item.contact.object("profile").text("name", _LONGEST_NAME),
        kind=kind,
        text=_text(kind, content),
        reply_to=content.identifier("message_id") if kind == "reaction" else replied,
        order=_order(content) if kind == "order" and content else None,
        media_id=content.identifier("id") if kind in MEDIA_KINDS else None,
        left_number=kind == "system" and content.word("type") in _NUMBER_CHANGES,
        choice=_choice(kind, content),
        **item.common(provider_id),
    )


def _preference(item: _Item) -> GatewayEvent:
    category, value = item.fields.word("category"), item.fields.word("value")
    if category is None or value is None:
        raise MalformedWebhook("category or value: no word")
    said = json.dumps(item.around["raw"]["value"]["user_preferences"], sort_keys=True, separators=(",", ":"))
    digest = hashlib.blake2b(said.encode(), digest_size=16).hexdigest()  # a key names nobody
    return PreferenceEvent(
        person=PhoneNumber.from_wa_id(item.fields.word("wa_id")),
        person_user_id=item.fields.identifier("user_id", _LONGEST_USER_ID)
        or item.contact.identifier("user_id", _LONGEST_USER_ID),
        category=category,
        value=value,
        detail=item.fields.text("detail", _LONGEST_DETAIL),
        **item.common(f"preference:{digest}"),
    )


def _echo(item: _Item) -> GatewayEvent:
    fields, provider_id = item.fields, item.required("id")
    kind = fields.word("type") or "unknown"
    content = _content(fields, kind)
    edits = content.identifier("original_message_id") if kind == "edit" else None
    text = _text("text", content.object("message").object("text")) if kind == "edit" else _text(kind, content)
    return MessageEcho(
        provider_id=provider_id,
        recipient=PhoneNumber.from_wa_id(fields.word("to")),
        kind=kind,
        text=text,
        edits=edits,
        **item.common(f"{provider_id}:echo"),
    )


_Decoder = Callable[[_Item], GatewayEvent]
_DECODERS: dict[str, dict[str, _Decoder]] = {
    "messages": {"messages": _message, "statuses": _status},
    "smb_message_echoes": {"message_echoes": _echo},
    "user_preferences": {"user_preferences": _preference},
}


def _other(
    field: str, value: Json, time: Any, received_at: datetime, phone_number_id: str | None, problems: list[str]
) -> OtherEvent:
    raw = {"field": field, "value": value, "time": time}
    canonical = json.dumps(raw, sort_keys=True, separators=(",", ":")).encode()
    return OtherEvent(
        event_key=f"{field}:{hashlib.blake2b(canonical, digest_size=16).hexdigest()}",
        occurred_at=_time_of(value, time, received_at),
        phone_number_id=phone_number_id,
        raw=raw,
        problem="; ".join(dict.fromkeys(problems))[:_LONGEST_PROBLEM] or None,
        field=field,
        value=value,
    )


def _time_of(value: Json, time: Any, received_at: datetime) -> datetime:
    """The entry's time, else the time of the first listed thing, else of the receipt."""
    listed = (part[0] for part in value.values() if isinstance(part, list) and part and isinstance(part[0], dict))
    for holder in ({"timestamp": time}, value, *listed):
        problems: list[str] = []
        moment = Fields(holder, problems).moment("timestamp", received_at)
        if not problems:
            return moment
    return received_at


def _content(fields: Fields, kind: str) -> Fields:
    """What the item holds under its kind; shared contacts come as a list, which holds no text."""
    return Fields({}, fields.problems) if kind == "contacts" else fields.object(kind)


def _text(kind: str, content: Fields) -> str | None:
    if kind == "interactive":
        chosen = content.object(content.word("type") or "")
        return chosen.text("title") or chosen.text("body")
    if kind == "edit":
        edited = content.object("message")
        now = edited.word("type")
        return None if now is None or now == "edit" else _text(now, edited.object(now))
    return content.text(_TEXT_KEYS.get(kind, "caption"))


def _choice(kind: str, content: Fields) -> str | None:
    """The name the sender gave to what was pressed or picked."""
    if kind == "interactive":
        return content.object(content.word("type") or "").text("id", _LONGEST_CALLBACK)
    return content.text("payload", _LONGEST_CALLBACK) if kind == "button" else None


def _order(content: Fields) -> OrderPayload | None:
    """The cart, or None with its problem: half a cart is none."""
    known = len(content.problems)
    items = [
        (
            item.identifier("product_retailer_id"),
            item.integer("quantity", 0, _MOST_PIECES),
            item.cents("item_price"),
            item.word("currency"),
        )
        for item in content.objects("product_items")
    ]
    order = OrderPayload(
        catalog_id=content.identifier("catalog_id"),
        items=tuple(OrderItem(*item) for item in items if None not in item),  # type: ignore[arg-type]
        text=content.text("text"),
    )
    if len(order.items) < len(items) or len(items) > _MOST_ITEMS or order.total_cents > _MOST_CENTS:
        content.problems.append("order: a cart that cannot be read")
    return order if len(content.problems) == known else None
