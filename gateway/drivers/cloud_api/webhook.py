"""Webhook requests: the signature over the raw body first, then the body."""

import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from gateway.drivers.cloud_api.codec import decode_change
from gateway.errors import ForgedWebhook, MalformedWebhook
from gateway.types import GatewayEvent

SIGNATURE_HEADER = "x-hub-signature-256"


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
    """The events of a webhook body, none dropped. Raises: MalformedWebhook."""
    try:
        document = json.loads(body)
        changes = [
            change if "time" in change or "time" not in entry else {**change, "time": entry["time"]}
            for entry in document["entry"]
            for change in entry["changes"]
        ]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise MalformedWebhook("not a webhook body") from error
    received_at = received_at or datetime.now(UTC)
    return [event for change in changes for event in parse_change(change, received_at)]


def parse_change(change: Mapping[str, Any], received_at: datetime | None = None) -> list[GatewayEvent]:
    """The events of one change. Raises: MalformedWebhook."""
    try:
        return list(decode_change(change, received_at or datetime.now(UTC)))
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise MalformedWebhook(f"a change that cannot be read: {type(error).__name__}") from error
