"""Webhook requests: the signature over the raw body first, then the body."""

import hashlib
import hmac
import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from gateway.drivers.cloud_api.codec import decode_change
from gateway.drivers.cloud_api.envelope import phone_number_id_of
from gateway.errors import ForgedWebhook, MalformedWebhook
from gateway.types import GatewayEvent, OtherEvent

SIGNATURE_HEADER = "x-hub-signature-256"
# The field of what could not be read at all.
UNREADABLE = "unreadable"
# The provider puts at most 1,000 events into a delivery of at most 3 MB.
MOST_EVENTS = 2_000
_MOST_PARTS = 200_000
_DEEPEST = 40
_MOST_DIGITS = 40
_NUMBER = re.compile(rb'"phone_number_id"\s*:\s*"?([0-9A-Za-z_.-]{1,128})"?')


def sign(body: bytes, app_secret: str) -> str:
    """The header value the provider puts on `body`."""
    return "sha256=" + hmac.new(app_secret.encode(), body, hashlib.sha256).hexdigest()


def verify(headers: Mapping[str, str], body: bytes, app_secret: str) -> None:
    """Nothing, if the signature fits (constant time). An empty secret accepts nothing. Raises: ForgedWebhook."""
    given = headers.get(SIGNATURE_HEADER) or headers.get("X-Hub-Signature-256")
    if given is None:
        given = next((value for name, value in headers.items() if name.lower() == SIGNATURE_HEADER), "")
    if not app_secret or not hmac.compare_digest(given.encode(), sign(body, app_secret).encode()):
        raise ForgedWebhook("signature missing or wrong")


def challenge(query: Mapping[str, str], verify_token: str) -> str:
    """The `hub.challenge` to echo to a subscription check. Raises: ForgedWebhook."""
    given = query.get("hub.verify_token", "")
    fits = bool(verify_token) and hmac.compare_digest(given.encode(), verify_token.encode())
    if query.get("hub.mode") != "subscribe" or not fits:
        raise ForgedWebhook("verify token missing or wrong")
    return query.get("hub.challenge", "")


def parse(body: bytes, received_at: datetime | None = None) -> list[GatewayEvent]:
    """The events of a webhook body, none dropped. What cannot be read is kept as an UNREADABLE event, with the number
    of ours it is about where it names exactly one."""
    received_at = received_at or datetime.now(UTC)
    try:
        entries = _document(body)["entry"]
        parts = [part for entry in entries for part in _changes(entry)]
    except (MalformedWebhook, KeyError, TypeError) as error:
        problem = str(error) if isinstance(error, MalformedWebhook) else "no list of entries"
        return [_unreadable({"body": _as_text(body)}, problem, _only_number(body), received_at)]
    events: list[GatewayEvent] = []
    for part in parts:
        try:
            events += parse_change(part, received_at)
        except MalformedWebhook as error:
            events.append(_unreadable({"part": part}, str(error), _only_number(body), received_at))
        if len(events) > MOST_EVENTS:
            problem = "more events than a delivery holds"
            return [_unreadable({"body": _as_text(body)}, problem, _only_number(body), received_at)]
    return events


def parse_change(change: Mapping[str, Any], received_at: datetime | None = None) -> list[GatewayEvent]:
    """The events of one change; of an UNREADABLE one read again. Raises: MalformedWebhook."""
    received_at = received_at or datetime.now(UTC)
    if not isinstance(change, Mapping):
        raise MalformedWebhook("a change that is no object")
    kept = change.get("value")
    if change.get("field") == UNREADABLE and isinstance(kept, dict):
        return _parse_again(kept, received_at)
    return list(decode_change(change, received_at))


def _parse_again(kept: dict[str, Any], received_at: datetime) -> list[GatewayEvent]:
    if isinstance(kept.get("body"), str):
        return parse(kept["body"].encode("utf-8", "replace"), received_at)
    part = kept.get("part")
    try:
        return parse_change(part, received_at)  # type: ignore[arg-type]
    except MalformedWebhook as error:
        return [_unreadable({"part": part}, str(error), phone_number_id_of(kept), received_at)]


def _document(body: bytes) -> dict[str, Any]:
    """The JSON object in `body`, within bounds of size and depth. Numbers without end stay text."""
    if body.count(b"{") + body.count(b"[") + body.count(b",") > _MOST_PARTS:
        raise MalformedWebhook("more parts than a delivery holds")
    try:
        document = json.loads(body, parse_int=_integer, parse_float=_float, parse_constant=str)
    except RecursionError as error:
        raise MalformedWebhook("nested too deeply") from error
    except ValueError as error:
        raise MalformedWebhook("not JSON") from error
    if _is_too_deep(document):
        raise MalformedWebhook("nested too deeply")
    if not isinstance(document, dict):
        raise MalformedWebhook("not a webhook body")
    return document


def _changes(entry: Any) -> list[Any]:
    """The changes of an entry, each with the entry's time; an entry without a list of them is a part of its own."""
    changes = entry.get("changes") if isinstance(entry, dict) else None
    if not isinstance(changes, list):
        return [entry]
    if "time" not in entry:
        return changes
    return [
        {**change, "time": entry["time"]} if isinstance(change, dict) and "time" not in change else change
        for change in changes
    ]


def _unreadable(kept: dict[str, Any], problem: str, number: str | None, received_at: datetime) -> OtherEvent:
    value = {**kept, "metadata": {"phone_number_id": number}}
    digest = hashlib.blake2b(json.dumps(kept, sort_keys=True).encode(), digest_size=16).hexdigest()
    return OtherEvent(
        event_key=f"{UNREADABLE}:{digest}",
        occurred_at=received_at,
        phone_number_id=number,
        raw={"field": UNREADABLE, "value": value},
        problem=problem,
        field=UNREADABLE,
        value=value,
    )


def _only_number(body: bytes) -> str | None:
    """The number of ours that a body names, when it names one only: no tenant gets to see another's events."""
    found = {match[1] for match in _NUMBER.finditer(body)}
    return found.pop().decode() if len(found) == 1 else None


def _as_text(body: bytes) -> str:
    return body.decode("utf-8", "backslashreplace")


def _is_too_deep(document: Any) -> bool:
    level = [document]
    for _ in range(_DEEPEST):
        level = [
            part
            for holder in level
            if isinstance(holder, (dict, list))
            for part in (holder.values() if isinstance(holder, dict) else holder)
        ]
        if not level:
            return False
    return True


def _integer(digits: str) -> int | str:
    return int(digits) if len(digits) <= _MOST_DIGITS else digits


def _float(digits: str) -> float | str:
    number = float(digits) if len(digits) <= _MOST_DIGITS else math.inf
    return number if math.isfinite(number) else digits
