"""What every row that enters the warehouse must keep to, table by table. A row that does not is set aside.

Whatever a model of dbt cannot compute with belongs here: an error in SQL stops the figures of all tenants.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import zoneinfo
from dataclasses import dataclass, field
from functools import cache

KEYS = ("tenant_id", "id")
PURPOSES = ["marketing", "utility", "service"]
CONSENTS = ["opted_in", "opted_out"]
# No business imports what happened earlier, or plans what lies further ahead.
EARLIEST, FURTHEST = dt.datetime(1990, 1, 1, tzinfo=dt.UTC), dt.datetime(2200, 1, 1, tzinfo=dt.UTC)
# Sums of a million of them stay within a bigint.
MAX_CENTS, MAX_PRICE_CENTS, MAX_COUNT = 10**13, 10**12, 10**6
CURRENCY = "^[A-Z]{3}$"


@dataclass(frozen=True)
class Contract:
    """`required` columns hold a value, `allowed` ones a listed value, `past` ones a time that has come, `times` ones no
    time outside EARLIEST to FURTHEST, `days` ones a date up to tomorrow, `between` ones no number outside the two
    limits, `matching` ones a text of the pattern. `keys` tell one row of the table from another.

    `times` and `between` may be empty; `allowed`, `past` and `days` may not.
    """

    required: tuple[str, ...] = ()
    keys: tuple[str, ...] = KEYS
    allowed: dict[str, list[str]] = field(default_factory=dict)
    past: tuple[str, ...] = ()
    times: tuple[str, ...] = ()
    days: tuple[str, ...] = ()
    between: dict[str, tuple[float, float]] = field(default_factory=dict)
    matching: dict[str, str] = field(default_factory=dict)

    @property
    def filled(self) -> list[str]:
        return list(dict.fromkeys([*self.keys, *self.required, *self.allowed, *self.past, *self.days]))

    @property
    def columns(self) -> list[str]:
        """`id` among them, by which a row is set aside."""
        return list(dict.fromkeys([*self.filled, "id", *self.times, *self.between, *self.matching]))

    @property
    def tenant(self) -> str:
        """The column that says whose a row is."""
        return "tenant_id" if "tenant_id" in self.keys else "id"

    @property
    def digest(self) -> str:
        """Tells this contract from every other: rows that another one let in, or set aside, are judged again."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:16]


@cache
def _zones() -> list[str]:
    return sorted(zoneinfo.available_timezones())


CONTRACTS: dict[str, Contract] = {
    "tenants": Contract(
        keys=("id",), required=("slug",), allowed={"timezone": _zones()}, times=("backfilled_until", "created_at")
    ),
    "campaigns": Contract(
        required=("name", "attribution_seconds", "holdout_rate"),
        allowed={"conversion_event": ["order", "redemption"], "type": ["broadcast", "drip", "nurture", "followup"]},
        times=("start_date", "end_date", "known_at", "created_at"),
        between={"attribution_seconds": (0, 366 * 86_400), "holdout_rate": (0, 1)},
    ),
    "contacts": Contract(
        required=("source",),
        allowed={"status": ["active", "archived", "unreachable"]},
        past=("known_at",),
        times=("created_at", "updated_at"),
    ),
    "consents": Contract(
        required=("contact_id",), allowed={"purpose": PURPOSES, "status": CONSENTS}, past=("effective_at",)
    ),
    "consent_events": Contract(
        required=("contact_id", "source"),
        allowed={"purpose": PURPOSES, "status": CONSENTS},
        past=("occurred_at", "known_at"),
    ),
    "conversations": Contract(required=("contact_id",), past=("started_at", "last_message_at")),
    "messages": Contract(
        required=("contact_id", "conversation_id", "provider_id"),
        allowed={
            "direction": ["inbound", "outbound"],
            "status": ["pending", "sent", "delivered", "read", "failed"],
        },
        past=("timestamp", "known_at"),
    ),
    "message_status_events": Contract(
        required=("message_id",),
        allowed={"status": ["sent", "delivered", "read", "failed"]},
        past=("occurred_at", "known_at"),
    ),
    "replies": Contract(required=("message_id", "contact_id"), past=("timestamp", "known_at")),
    "orders": Contract(
        required=("contact_id", "external_id", "currency", "total_cents"),
        allowed={"status": ["pending", "shipped", "delivered", "cancelled"]},
        past=("ordered_at", "known_at"),
        between={"total_cents": (0, MAX_CENTS)},
        matching={"currency": CURRENCY},
    ),
    "order_items": Contract(
        required=("order_id", "name", "quantity", "price_cents"),
        between={"quantity": (0, MAX_COUNT), "price_cents": (0, MAX_PRICE_CENTS)},
    ),
    "conversions": Contract(
        required=("contact_id", "campaign_id"),
        past=("occurred_at", "known_at"),
        between={"value_cents": (0, MAX_CENTS)},
    ),
    "outbound_messages": Contract(
        required=("contact_id", "phone_number_id"), allowed={"purpose": PURPOSES}, times=("accepted_at", "created_at")
    ),
    "decisions": Contract(
        required=("contact_id", "reason", "policy_version"),
        allowed={"outcome": ["send", "hold_out", "suppress", "defer"]},
        past=("decided_at",),
        between={"assignment_probability": (0, 1)},
    ),
    "scores": Contract(
        keys=("tenant_id", "contact_id", "model"),
        required=("model_version", "tier", "probability"),
        past=("scored_at",),
        between={"probability": (0, 1)},
    ),
    "usage_records": Contract(
        required=("api_calls", "messages_sent"),
        days=("date",),
        between={"api_calls": (0, MAX_CENTS), "messages_sent": (0, MAX_CENTS)},
    ),
}
