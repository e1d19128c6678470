"""A verified webhook body as rows of the inbox."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from gateway.driver import Driver
from gateway.types import DeliveryEvent, GatewayEvent, InboundMessage, MessageEcho

# B-tree entries end at 2.7 kB; a provider's key is some 70 bytes.
_LONGEST_KEY = 400


class InboxRow(NamedTuple):
    """One event as `inbound_events` keeps it; `payload` is JSON text that PostgreSQL's jsonb accepts."""

    event_key: str
    kind: str
    provider_number_id: str
    occurred_at: dt.datetime
    payload: str


def inbox_rows(driver: Driver, body: bytes) -> list[InboxRow]:
    """The events of a body that `driver.verify` accepted, each key once; what cannot be read is one too. No network."""
    rows: dict[str, InboxRow] = {}
    for event in driver.parse_webhook(body):
        key = _storable_key(event.event_key)
        rows[key] = InboxRow(key, kind_of(event), event.phone_number_id or "", event.occurred_at, _storable(event.raw))
    return list(rows.values())


def kind_of(event: GatewayEvent) -> str:
    """message, status, echo or other."""
    if isinstance(event, InboundMessage):
        return "message"
    if isinstance(event, DeliveryEvent):
        return "status"
    return "echo" if isinstance(event, MessageEcho) else "other"


def by_tenant(
    rows: Iterable[InboxRow], routes: Mapping[str, uuid.UUID | None]
) -> tuple[dict[uuid.UUID, list[InboxRow]], int]:
    """The rows of each tenant, and how many belong to a number nobody registered."""
    grouped: dict[uuid.UUID, list[InboxRow]] = defaultdict(list)
    unrouted = 0
    for row in rows:
        tenant_id = routes.get(row.provider_number_id)
        if tenant_id is None:
            unrouted += 1
        else:
            grouped[tenant_id].append(row)
    return grouped, unrouted


def _storable_key(key: str) -> str:
    text = _storable_text(key)
    if len(text) <= _LONGEST_KEY:
        return text
    return f"{text[:100]}:{hashlib.blake2b(text.encode(), digest_size=16).hexdigest()}"


def _storable(raw: dict[str, Any]) -> str:
    text = json.dumps(raw, ensure_ascii=False, separators=(",", ":"))
    if "\\u0000" in text:
        # jsonb has no NUL. An escaped backslash before u0000 is no NUL and must stay, so the values are cleaned.
        text = json.dumps(_without_nul(json.loads(text)), ensure_ascii=False, separators=(",", ":"))
    return _storable_text(text)


def _storable_text(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        text = text.encode("utf-8", "replace").decode()
    return text.replace("\x00", "")


def _without_nul(value: Any) -> Any:
    if isinstance(value, dict):
        return {key.replace("\x00", ""): _without_nul(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_without_nul(part) for part in value]
    return value.replace("\x00", "") if isinstance(value, str) else value
