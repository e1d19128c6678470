"""The Cloud API's own shapes: webhook bodies and their signature, answers and errors of the send route."""

import hashlib
import hmac
import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from gateway.simulator.people import Person

Json = dict[str, Any]

ERRORS: dict[int, tuple[int, str]] = {
    100: (400, "Invalid parameter"),
    190: (401, "Invalid OAuth access token"),
    130429: (429, "Rate limit hit"),
    131026: (400, "Message undeliverable"),
    131047: (400, "Re-engagement message"),
    132001: (404, "Template name does not exist in the translation"),
}
_DETAILS = {
    131026: "The recipient cannot be reached on WhatsApp.",
    131047: "More than 24 hours have passed since the recipient last wrote to this number.",
}
_PRICED = frozenset({"sent", "delivered"})
_FIELDS = {"message_echoes": "smb_message_echoes", "user_preferences": "user_preferences"}


class WireEvent(NamedTuple):
    """One event on its way to the webhook. `at` is epoch seconds; `kind` is echo, text, button, order, preference or a
    status word.

    `text` is a body for echo and text, the label for button, JSON of the order for order, stop or resume for
    preference; `context` the message answered; `callback` the sender's opaque data; `error` a code.
    """

    at: float
    kind: str
    person: int
    provider_id: str
    text: str = ""
    context: str = ""
    callback: str = ""
    error: int = 0


class Number(NamedTuple):
    """The business's side of every event."""

    phone_number_id: str
    waba_id: str
    display_number: str


def provider_id(*parts: object) -> str:
    """A wamid, the same for the same parts."""
    return "wamid." + hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=18).hexdigest()


def webhook_body(events: Iterable[WireEvent], people: Sequence[Person], number: Number) -> bytes:
    """One webhook body: echoes, statuses, then messages, each in the order given."""
    groups: dict[str, list[Json]] = {"message_echoes": [], "statuses": [], "messages": [], "user_preferences": []}
    contacts: dict[str, dict[str, Json]] = {key: {} for key in groups}
    for event in events:
        person = people[event.person]
        key, item = _item(event, person, number)
        groups[key].append(item)
        if person.wa_id not in contacts[key]:
            contacts[key][person.wa_id] = {"profile": {"name": person.name}, "wa_id": person.wa_id}
    metadata = {"display_phone_number": number.display_number, "phone_number_id": number.phone_number_id}
    changes = [
        {
            "field": _FIELDS.get(key, "messages"),
            "value": {
                "messaging_product": "whatsapp",
                "metadata": metadata,
                "contacts": list(contacts[key].values()),
                key: items,
            },
        }
        for key, items in groups.items()
        if items
    ]
    body = {"object": "whatsapp_business_account", "entry": [{"id": number.waba_id, "changes": changes}]}
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()


def signature(body: bytes, app_secret: str) -> str:
    """The value of X-Hub-Signature-256."""
    return "sha256=" + hmac.new(app_secret.encode(), body, hashlib.sha256).hexdigest()


def error_body(code: int, detail: str = "") -> tuple[int, Json]:
    """HTTP status and body of a refusal."""
    status, title = ERRORS[code]
    data = {"messaging_product": "whatsapp", "details": detail or _DETAILS.get(code, title)}
    error = {
        "message": f"(#{code}) {title}",
        "type": "OAuthException",
        "code": code,
        "error_data": data,
        "fbtrace_id": hashlib.blake2b(f"{code}{detail}".encode(), digest_size=8).hexdigest(),
    }
    return status, {"error": error}


def accepted_body(to: str, wa_id: str, message_provider_id: str) -> Json:
    """The answer to a send that was taken."""
    return {
        "messaging_product": "whatsapp",
        "contacts": [{"input": to, "wa_id": wa_id}],
        "messages": [{"id": message_provider_id, "message_status": "accepted"}],
    }


def _item(event: WireEvent, person: Person, number: Number) -> tuple[str, Json]:
    item: Json = {"id": event.provider_id, "timestamp": str(int(event.at))}
    if event.kind == "echo":
        item.update({"from": number.display_number, "to": person.wa_id, "type": "text", "text": {"body": event.text}})
        return "message_echoes", item
    if event.kind == "preference":
        words = {"stop": "User requested to stop marketing messages", "resume": "User requested to resume them"}
        return "user_preferences", {
            "wa_id": person.wa_id, "category": "marketing_messages", "value": event.text,
            "detail": words[event.text], "timestamp": int(event.at),
        }  # fmt: skip
    if event.kind in ("text", "button", "order"):
        item.update({"from": person.wa_id, "type": event.kind})
        item[event.kind] = _content(event)
        if event.context:
            item["context"] = {"from": number.display_number, "id": event.context}
        return "messages", item
    item.update({"status": event.kind, "recipient_id": person.wa_id})
    if event.callback:
        item["biz_opaque_callback_data"] = event.callback
    if event.error:
        title = ERRORS[event.error][1]
        item["errors"] = [
            {
                "code": event.error,
                "title": title,
                "message": title,
                "error_data": {"details": _DETAILS.get(event.error, title)},
            }
        ]
    elif event.kind in _PRICED:
        category = "marketing" if event.callback else "service"
        item["pricing"] = {"billable": category == "marketing", "pricing_model": "PMP", "category": category}
    return "statuses", item


def _content(event: WireEvent) -> Json:
    if event.kind == "order":
        order: Json = json.loads(event.text)
        return order
    return {"body": event.text} if event.kind == "text" else {"text": event.text, "payload": event.text}
