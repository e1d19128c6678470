"""The vocabulary every driver shares: what goes out, what comes back, and what webhooks tell us.

All moments are timezone-aware UTC, all money is integer cents.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal
from uuid import UUID

from gateway.phone_number import PhoneNumber

__all__ = [
    "DeliveryEvent",
    "GatewayEvent",
    "InboundMessage",
    "MessageEcho",
    "OrderItem",
    "OrderPayload",
    "OtherEvent",
    "OutboundMessage",
    "PhoneNumber",
    "PreferenceEvent",
    "SendReceipt",
    "Status",
    "Template",
]


class Status(StrEnum):
    """What became of an outbound message. `UNKNOWN` is a status word this version does not know; `raw` keeps it."""

    SENT = "sent"
    DELIVERED = "delivered"
    READ = "read"
    PLAYED = "played"
    FAILED = "failed"
    DELETED = "deleted"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class OutboundMessage:
    """One message to one person. `message_id` is chosen by the caller and comes back in every status webhook.

    `not_after`: the last moment (UTC) at which the request may still leave; afterwards the driver refuses it.
    `attributes` stays with the caller: nothing of it goes over the wire.
    """

    message_id: UUID
    to: PhoneNumber
    kind: Literal["text", "template"]
    not_after: datetime
    text: str | None = None
    template_name: str | None = None
    template_language: str | None = None
    template_parameters: tuple[str, ...] | list[str] = ()
    reply_to: str | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.not_after.tzinfo is None:
            raise ValueError("not_after needs a time zone")
        if self.kind == "text" and not self.text:
            raise ValueError("a text message needs text")
        if self.kind == "template" and not (self.template_name and self.template_language):
            raise ValueError("a template message needs template_name and template_language")


@dataclass(frozen=True, slots=True)
class Template:
    """A message template as the provider holds it. `status` is the provider's word (`APPROVED`, `PAUSED`, ...);
    `variables` is how many its body takes, None where the provider shows no body."""

    name: str
    language: str
    status: str
    category: str
    variables: int | None


@dataclass(frozen=True, slots=True)
class SendReceipt:
    """The provider took the message. `provider_id` is its wamid; `accepted_at` is our clock when the answer came."""

    message_id: UUID
    provider_id: str
    accepted_at: datetime


@dataclass(frozen=True, slots=True)
class GatewayEvent:
    """One thing a webhook told us.

    `event_key` is stable across the provider's retries: store it under a UNIQUE constraint. `raw` is the change
    narrowed to this one event; `parse_change(raw)` of the driver that made it gives the same event again. `problem`
    names what of it could not be read (never a value); the rest holds. An `OtherEvent` with a problem could not be read
    as what its field says.
    """

    event_key: str
    occurred_at: datetime
    phone_number_id: str | None
    raw: dict[str, Any]
    problem: str | None = field(default=None, kw_only=True)


@dataclass(frozen=True, slots=True)
class DeliveryEvent(GatewayEvent):
    """A status of an outbound message. `callback_data` is what the sender attached: our message id, as a string."""

    provider_id: str
    status: Status
    recipient: PhoneNumber | None
    callback_data: str | None = None
    errors: tuple[int, ...] = ()

    @property
    def message_id(self) -> UUID | None:
        """The `message_id` of the send this is about, or None when it was not sent through a driver of ours."""
        try:
            return UUID(self.callback_data) if self.callback_data else None
        except ValueError:
            return None


@dataclass(frozen=True, slots=True)
class OrderItem:
    product_id: str
    quantity: int
    price_cents: int
    currency: str


@dataclass(frozen=True, slots=True)
class OrderPayload:
    """A cart sent from a catalog. `price_cents` of an item is for one piece."""

    catalog_id: str | None
    items: tuple[OrderItem, ...]
    text: str | None = None

    @property
    def total_cents(self) -> int:
        return sum(item.quantity * item.price_cents for item in self.items)


@dataclass(frozen=True, slots=True)
class InboundMessage(GatewayEvent):
    """A message from a person. `sender` is None when only a business-scoped `sender_user_id` came.

    `text` is what the person wrote or chose: body, caption, button title, or the reaction's emoji. `kind` is the
    provider's word (`text`, `image`, `order`, `interactive`, `reaction`, ...). `reply_to` is a provider id. `choice` is
    what the sender named the chosen button or list row, which the person does not see. `left_number`: the provider
    tells that the person gave up the number it names as sender.
    """

    provider_id: str
    sender: PhoneNumber | None
    sender_user_id: str | None
    profile_name: str | None
    kind: str
    text: str | None = None
    reply_to: str | None = None
    order: OrderPayload | None = None
    media_id: str | None = None
    left_number: bool = False
    choice: str | None = None


@dataclass(frozen=True, slots=True)
class PreferenceEvent(GatewayEvent):
    """What a person told the provider itself about the business's messages, outside any conversation.

    `category` and `value` are the provider's words: `marketing_messages`, and `stop` or `resume`.
    """

    person: PhoneNumber | None
    person_user_id: str | None
    category: str
    value: str
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class MessageEcho(GatewayEvent):
    """A message the business sent outside our API, or before it knew us. `edits` is the provider id it replaces."""

    provider_id: str
    recipient: PhoneNumber | None
    kind: str
    text: str | None = None
    edits: str | None = None


@dataclass(frozen=True, slots=True)
class OtherEvent(GatewayEvent):
    """Anything else a provider tells: quality, templates, account, calls. `field` is the webhook field's name."""

    field: str
    value: dict[str, Any]
