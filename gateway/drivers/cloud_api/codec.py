"""Ours <-> theirs: request bodies out, one webhook change in."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

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
    Status,
    utc_from_epoch,
)

Json = dict[str, Any]

STATUS = {status.value: status for status in Status if status is not Status.UNKNOWN}

# Inside these, `id` names a stored media object.
MEDIA_KINDS = frozenset({"audio", "document", "image", "sticker", "video"})
_ENVELOPE = frozenset({"messaging_product", "metadata", "contacts"})


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
    """The events of one change. `received_at` stands in where the provider gives no time at all.

    Raises: MalformedWebhook, KeyError, TypeError, ValueError (the caller turns the last three into the first).
    """
    field, value = change["field"], change["value"]
    if not isinstance(field, str) or not isinstance(value, dict):
        raise MalformedWebhook("a change without field or value")
    decoders = _DECODERS.get(field, {})
    contacts = {contact.get("wa_id"): contact for contact in value.get("contacts") or ()}
    only = next(iter(contacts.values())) if len(contacts) == 1 else None
    time = change.get("time")
    decoded: set[str] = set()
    for key, decode in decoders.items():
        if key not in value:
            continue
        decoded.add(key)
        for item in value[key]:
            person = item.get("recipient_id") or item.get("to") if key != "messages" else item.get("from")
            contact = contacts.get(person, only)
            narrowed: Json = {"metadata": value.get("metadata"), "contacts": [contact] if contact else [], key: [item]}
            try:
                event = decode(item, contact, _phone_number_id(value), {"field": field, "value": narrowed})
            except (KeyError, TypeError, ValueError, AttributeError, OverflowError, MalformedWebhook):
                # One odd item must not cost the others of its body: it is kept whole, under its field.
                event = _other(field, narrowed, time, received_at)
            time = time or int(event.occurred_at.timestamp())
            yield event
    rest = {key: part for key, part in value.items() if key not in decoded and key not in _ENVELOPE}
    if rest or not decoded:
        whole = value if not decoded else {"metadata": value.get("metadata"), **rest}
        yield _other(field, whole, time, received_at)


def _phone_number_id(value: Json) -> str | None:
    metadata = value.get("metadata")
    return metadata.get("phone_number_id") if metadata else None


def _status(item: Json, contact: Json | None, phone_number_id: str | None, raw: Json) -> GatewayEvent:
    return DeliveryEvent(
        event_key=f"{item['id']}:{item['status']}",
        occurred_at=utc_from_epoch(item["timestamp"]),
        phone_number_id=phone_number_id,
        raw=raw,
        provider_id=item["id"],
        status=STATUS.get(item["status"], Status.UNKNOWN),
        recipient=PhoneNumber.from_wa_id(item.get("recipient_id")),
        callback_data=item.get("biz_opaque_callback_data"),
        errors=tuple(int(error["code"]) for error in item.get("errors") or ()),
    )


def _message(item: Json, contact: Json | None, phone_number_id: str | None, raw: Json) -> GatewayEvent:
    contact = contact or {}
    kind = item.get("type", "unknown")
    content = item.get(kind)
    context = item.get("context") or {}
    replied = item["reaction"]["message_id"] if kind == "reaction" else context.get("id")
    return InboundMessage(
        event_key=item["id"],
        occurred_at=utc_from_epoch(item["timestamp"]),
        phone_number_id=phone_number_id,
        raw=raw,
        provider_id=item["id"],
        sender=PhoneNumber.from_wa_id(item.get("from")),
        sender_user_id=item.get("from_user_id") or contact.get("user_id"),
        profile_name=(contact.get("profile") or {}).get("name"),
        kind=kind,
        text=_text(kind, content),
        reply_to=replied,
        order=_order(content) if kind == "order" and isinstance(content, dict) else None,
        media_id=content.get("id") if kind in MEDIA_KINDS and isinstance(content, dict) else None,
    )


def _echo(item: Json, contact: Json | None, phone_number_id: str | None, raw: Json) -> GatewayEvent:
    kind = item.get("type", "unknown")
    content = item.get(kind)
    edits = None
    if kind == "edit" and isinstance(content, dict):
        edits = content.get("original_message_id")
        content = (content.get("message") or {}).get("text")
    return MessageEcho(
        event_key=f"{item['id']}:echo",
        occurred_at=utc_from_epoch(item["timestamp"]),
        phone_number_id=phone_number_id,
        raw=raw,
        provider_id=item["id"],
        recipient=PhoneNumber.from_wa_id(item.get("to")),
        kind=kind,
        text=_text("text" if kind == "edit" else kind, content),
        edits=edits,
    )


_Decoder = Callable[[Json, Json | None, str | None, Json], GatewayEvent]
_DECODERS: dict[str, dict[str, _Decoder]] = {
    "messages": {"messages": _message, "statuses": _status},
    "smb_message_echoes": {"message_echoes": _echo},
}


def _other(field: str, value: Json, time: Any, received_at: datetime) -> OtherEvent:
    raw = {"field": field, "value": value, "time": time}
    canonical = json.dumps(raw, sort_keys=True, separators=(",", ":")).encode()
    return OtherEvent(
        event_key=f"{field}:{hashlib.blake2b(canonical, digest_size=16).hexdigest()}",
        occurred_at=_time_of(value, time) or received_at,
        phone_number_id=_phone_number_id(value),
        raw=raw,
        field=field,
        value=value,
    )


def _time_of(value: Json, time: Any) -> datetime | None:
    """The entry's time, else the time of the first listed thing, else None."""
    listed = (
        part[0].get("timestamp")
        for part in value.values()
        if isinstance(part, list) and part and isinstance(part[0], dict)
    )
    for candidate in (time, value.get("timestamp"), *listed):
        try:
            return utc_from_epoch(candidate).astimezone(UTC)
        except (TypeError, ValueError, OverflowError):
            continue
    return None


def _text(kind: str, content: Any) -> str | None:
    if not isinstance(content, dict):
        return None
    if kind == "interactive":
        chosen = content.get(content.get("type", ""))
        return (chosen.get("title") or chosen.get("body")) if isinstance(chosen, dict) else None
    key = {"text": "body", "button": "text", "reaction": "emoji", "order": "text", "system": "body", "location": "name"}
    written = content.get(key.get(kind, "caption"))
    return written or None


def _order(content: Json) -> OrderPayload:
    items = tuple(
        OrderItem(
            product_id=str(item["product_retailer_id"]),
            quantity=int(item["quantity"]),
            price_cents=_cents(item["item_price"]),
            currency=str(item["currency"]),
        )
        for item in content.get("product_items") or ()
    )
    return OrderPayload(catalog_id=content.get("catalog_id"), items=items, text=content.get("text") or None)


def _cents(price: Any) -> int:
    try:
        return int((Decimal(str(price)) * 100).to_integral_value())
    except InvalidOperation as error:
        raise MalformedWebhook("an order item without a price") from error
