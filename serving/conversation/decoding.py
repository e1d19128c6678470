"""Stored webhook events as plain rows, ready to be applied many at a time."""

from __future__ import annotations

import datetime as dt
import itertools
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from gateway.driver import Driver
from gateway.types import DeliveryEvent, GatewayEvent, InboundMessage, MessageEcho, PreferenceEvent, Status
from serving.consent.keywords import is_opt_in
from serving.consent.optout import OptOut, read_choice, read_opt_out
from serving.consent.preferences import MARKETING, Preference
from serving.consent.service import PHONE_CHANGED

# A played voice message was read. The other words change nothing about a message's way to its reader.
STATUS_WORDS = {
    Status.SENT: "sent", Status.DELIVERED: "delivered", Status.READ: "read", Status.PLAYED: "read",
    Status.FAILED: "failed",
}  # fmt: skip
OPTED_OUT_CODE = 131050
# What a person says or chooses. A reaction says something about one message, an order about goods.
_SAYING_KINDS = frozenset({"text", "button", "interactive", "image", "video", "document", "edit"})
_CHOOSING_KINDS = frozenset({"button", "interactive"})
_LONGEST_ID = 1000


class Claimed(NamedTuple):
    """One row of the inbox."""

    id: uuid.UUID
    provider_number_id: str
    occurred_at: dt.datetime
    received_at: dt.datetime
    payload: dict[str, Any]
    attempts: int


class PersonRow(NamedTuple):
    ref: int
    phone: str | None
    user_id: str | None
    name: str | None
    known_at: dt.datetime
    wrote: bool
    last_at: dt.datetime | None


class MessageRow(NamedTuple):
    person: int
    provider_number_id: str
    provider_id: str
    direction: str
    kind: str
    text: str | None
    reply_to: str | None
    media_id: str | None
    occurred_at: dt.datetime
    known_at: dt.datetime


class StatusRow(NamedTuple):
    event_id: uuid.UUID
    provider_id: str
    message_id: uuid.UUID | None
    campaign_id: uuid.UUID | None
    status: str
    occurred_at: dt.datetime
    known_at: dt.datetime
    error_code: int | None


class OrderRow(NamedTuple):
    provider_id: str
    position: int
    name: str
    quantity: int
    price_cents: int
    currency: str


class ConsentRow(NamedTuple):
    person: int
    event_key: str
    status: str
    occurred_at: dt.datetime
    known_at: dt.datetime
    source: str
    wording: str | None
    language: str | None
    provider_id: str
    # Of an opt-out: how sure its reading is ("word" or "sentence"), and by which rule.
    grade: str | None = None
    rule: str | None = None
    provider_number_id: str | None = None


class UnreadableEvent(ValueError):
    """An event that was stored but says nothing we can apply; the text says why and is kept with it."""


@dataclass(slots=True)
class Decoded:
    """What a batch of events says. `errors` holds what could not be read of an event; its rest is in the rows."""

    people: list[PersonRow] = field(default_factory=list)
    messages: list[MessageRow] = field(default_factory=list)
    edits: list[tuple[str, str | None]] = field(default_factory=list)
    statuses: list[StatusRow] = field(default_factory=list)
    orders: list[OrderRow] = field(default_factory=list)
    consents: list[ConsentRow] = field(default_factory=list)
    preferences: list[Preference] = field(default_factory=list)
    errors: dict[uuid.UUID, str] = field(default_factory=dict)

    def lists(self) -> tuple[list[Any], ...]:
        return (self.messages, self.edits, self.statuses, self.orders, self.consents, self.preferences)


class _People:
    """People of one batch by phone, or by user id where no phone came; one who came with both is one person."""

    def __init__(self) -> None:
        self._known: dict[str, list[Any]] = {}
        self._aliases: dict[str, str] = {}
        self._refs = itertools.count()

    def ref(
        self, phone: str | None, user_id: str | None, name: str | None, known_at: dt.datetime, wrote: bool,
        at: dt.datetime | None = None,
    ) -> int:  # fmt: skip
        """The person's number in the batch. `at` is when it wrote."""
        if phone is None and user_id is None:
            raise UnreadableEvent("nobody is named as the other side")
        key = phone or self._aliases.get(user_id or "", f"user:{user_id}")
        if phone and user_id and self._aliases.setdefault(user_id, phone) == phone:
            # Seen before by the user id alone: that entry is this person.
            alone = self._known.pop(f"user:{user_id}", None)
            if alone is not None and phone not in self._known:
                alone[1] = phone
                self._known[phone] = alone
            elif alone is not None:
                alone[1] = phone
                self._known[f"same:{user_id}"] = alone
        person = self._known.get(key)
        if person is None:
            person = self._known[key] = [next(self._refs), phone, user_id, name, known_at, wrote, at]
            return int(person[0])
        person[2] = person[2] or user_id
        person[3] = person[3] or name
        person[4] = min(person[4], known_at)
        person[5] = person[5] or wrote
        person[6] = max(filter(None, (person[6], at)), default=None)
        return int(person[0])

    def rows(self) -> list[PersonRow]:
        return [PersonRow(*person) for person in self._known.values()]


def decode(
    events: Sequence[Claimed], driver: Driver, backfilled_until: dt.datetime | None, opt_in_keywords: Collection[str]
) -> Decoded:
    """The rows of `events`. An event that cannot be read costs none of the others."""
    decoded, people = Decoded(), _People()
    for event in events:
        try:
            read = driver.parse_change(event.payload, event.received_at)
        except Exception as error:  # whatever one stored event does to us, its reason is recorded and the rest go on
            decoded.errors[event.id] = _reason(error)
            continue
        for parsed in read:
            sizes = [len(rows) for rows in decoded.lists()]
            try:
                _decode(decoded, people, event, parsed, _known_at(event, parsed, backfilled_until), opt_in_keywords)
            except Exception as error:
                decoded.errors[event.id] = _reason(error)
                for rows, size in zip(decoded.lists(), sizes, strict=True):
                    del rows[size:]
            else:
                if parsed.problem is not None:
                    decoded.errors[event.id] = parsed.problem
    decoded.people = people.rows()
    return decoded


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:500]


def _known_at(event: Claimed, parsed: GatewayEvent, backfilled_until: dt.datetime | None) -> dt.datetime:
    if backfilled_until is not None and parsed.occurred_at <= backfilled_until:
        return parsed.occurred_at
    return max(event.received_at, parsed.occurred_at)


def _decode(
    decoded: Decoded, people: _People, event: Claimed, parsed: GatewayEvent, known_at: dt.datetime,
    keywords: Collection[str]
) -> None:  # fmt: skip
    if isinstance(parsed, DeliveryEvent):
        _decode_status(decoded, people, event, parsed, known_at)
    elif isinstance(parsed, InboundMessage):
        _decode_message(decoded, people, event, parsed, known_at, keywords)
    elif isinstance(parsed, PreferenceEvent):
        _decode_preference(decoded, event, parsed, known_at)
    elif isinstance(parsed, MessageEcho):
        if parsed.edits is not None:
            decoded.edits.append((_id(parsed.edits), parsed.text))
            return
        phone = parsed.recipient.e164 if parsed.recipient else None
        provider_id = _id(parsed.provider_id)
        person = people.ref(phone, None, None, known_at, False)
        decoded.messages.append(
            MessageRow(person, event.provider_number_id, provider_id, "outbound", parsed.kind,
            parsed.text, None,
                       None, parsed.occurred_at, known_at)
        )  # fmt: skip


def _decode_message(
    decoded: Decoded, people: _People, event: Claimed, parsed: InboundMessage, known_at: dt.datetime,
    keywords: Collection[str]
) -> None:  # fmt: skip
    phone = parsed.sender.e164 if parsed.sender else None
    provider_id = _id(parsed.provider_id)
    person = people.ref(phone, parsed.sender_user_id, parsed.profile_name, known_at, True, parsed.occurred_at)
    if parsed.order is not None:
        for position, item in enumerate(parsed.order.items):
            decoded.orders.append(
                OrderRow(provider_id, position, item.product_id, item.quantity, item.price_cents, item.currency)
            )
    decoded.messages.append(
        MessageRow(person, event.provider_number_id, provider_id, "inbound", parsed.kind, parsed.text, parsed.reply_to,
                   parsed.media_id, parsed.occurred_at, known_at)
    )  # fmt: skip
    if parsed.left_number:
        decoded.consents.append(
            ConsentRow(person, f"{PHONE_CHANGED}:{provider_id}", "opted_out", parsed.occurred_at, known_at,
                       PHONE_CHANGED, None, None, provider_id)
        )  # fmt: skip
    _decode_consent(decoded, person, event, parsed, known_at, keywords)


def _decode_consent(
    decoded: Decoded, person: int, event: Claimed, parsed: InboundMessage, known_at: dt.datetime,
    keywords: Collection[str]
) -> None:  # fmt: skip
    if parsed.kind not in _SAYING_KINDS:
        return
    read: OptOut | None
    if parsed.kind in _CHOOSING_KINDS:
        source, read = "whatsapp_button", read_choice(parsed.text, parsed.choice)
    else:
        read = read_opt_out(parsed.text)
        source = "whatsapp_sentence" if read is not None and read.grade == "sentence" else "whatsapp_keyword"
    if read is not None:
        status, language, grade, rule = "opted_out", read.language, read.grade, read.rule
    elif parsed.kind in ("text", *_CHOOSING_KINDS) and is_opt_in(parsed.text, keywords):
        status, language, grade, rule = "opted_in", None, None, None
        source = "whatsapp_keyword"
    else:
        return
    decoded.consents.append(
        ConsentRow(person, f"message:{parsed.provider_id}", status, parsed.occurred_at, known_at, source, parsed.text,
                   language, parsed.provider_id, grade, rule, event.provider_number_id)
    )  # fmt: skip


def _decode_preference(decoded: Decoded, event: Claimed, parsed: PreferenceEvent, known_at: dt.datetime) -> None:
    if parsed.category != MARKETING or parsed.value not in ("stop", "resume"):
        return
    if parsed.person is None and parsed.person_user_id is None:
        raise UnreadableEvent("a preference of nobody")
    phone = parsed.person.e164 if parsed.person else None
    decoded.preferences.append(
        Preference(phone, parsed.person_user_id, parsed.event_key, parsed.value, parsed.occurred_at, known_at,
                   parsed.detail)
    )  # fmt: skip


def _decode_status(
    decoded: Decoded, people: _People, event: Claimed, parsed: DeliveryEvent, known_at: dt.datetime
) -> None:
    status = STATUS_WORDS.get(parsed.status)
    if status is None:
        return
    code = parsed.errors[0] if parsed.errors else None
    decoded.statuses.append(
        StatusRow(event.id, _id(parsed.provider_id), parsed.message_id, _campaign(parsed.callback_data), status,
                  parsed.occurred_at, known_at, code if code is not None and abs(code) < 2**31 else None)
    )  # fmt: skip
    if status == "failed" and OPTED_OUT_CODE in parsed.errors and parsed.recipient is not None:
        person = people.ref(parsed.recipient.e164, None, None, known_at, False)
        decoded.consents.append(
            ConsentRow(person, f"{parsed.provider_id}:{OPTED_OUT_CODE}", "opted_out", parsed.occurred_at, known_at,
                       "provider", None, None, _id(parsed.provider_id))
        )  # fmt: skip


def _campaign(callback_data: str | None) -> uuid.UUID | None:
    if not callback_data or not callback_data.startswith("campaign:"):
        return None
    try:
        return uuid.UUID(callback_data.removeprefix("campaign:"))
    except ValueError:
        return None


def _id(provider_id: str) -> str:
    if not isinstance(provider_id, str) or not provider_id or len(provider_id) > _LONGEST_ID:
        raise UnreadableEvent("a provider id that is no id")
    return provider_id
