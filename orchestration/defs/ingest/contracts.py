"""What every row that enters the warehouse must keep to, table by table."""

from __future__ import annotations

from dataclasses import dataclass, field

KEYS = ("tenant_id", "id")
PURPOSES = ["marketing", "utility", "service"]
CONSENTS = ["opted_in", "opted_out"]


@dataclass(frozen=True)
class Contract:
    """`required` columns hold a value, `allowed` ones a listed value, `past` ones a time that has come, `positive` ones
    no negative number, `fractions` ones a number from 0 to 1. `keys` tell one row of the table from another."""

    required: tuple[str, ...] = ()
    keys: tuple[str, ...] = KEYS
    allowed: dict[str, list[str]] = field(default_factory=dict)
    past: tuple[str, ...] = ()
    positive: tuple[str, ...] = ()
    fractions: tuple[str, ...] = ()

    @property
    def columns(self) -> list[str]:
        return list(
            dict.fromkeys([*self.keys, *self.required, *self.allowed, *self.past, *self.positive, *self.fractions])
        )


CONTRACTS: dict[str, Contract] = {
    "tenants": Contract(keys=("id",), required=("slug", "timezone")),
    "campaigns": Contract(
        required=("name",),
        allowed={"conversion_event": ["order", "redemption"], "type": ["broadcast", "drip", "nurture", "followup"]},
        positive=("attribution_seconds", "holdout_rate"),
    ),
    "contacts": Contract(required=("source",), allowed={"status": ["active", "archived", "unreachable"]}),
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
        required=("contact_id", "external_id", "currency"),
        allowed={"status": ["pending", "shipped", "delivered", "cancelled"]},
        past=("ordered_at", "known_at"),
        positive=("total_cents",),
    ),
    "order_items": Contract(required=("order_id", "name"), positive=("quantity", "price_cents")),
    "conversions": Contract(required=("contact_id", "campaign_id"), past=("occurred_at", "known_at")),
    "outbound_messages": Contract(required=("contact_id", "phone_number_id"), allowed={"purpose": PURPOSES}),
    "decisions": Contract(
        required=("contact_id", "reason", "policy_version"),
        allowed={"outcome": ["send", "hold_out", "suppress", "defer"]},
        past=("decided_at",),
    ),
    "scores": Contract(
        keys=("tenant_id", "contact_id", "model"),
        required=("model_version", "tier"),
        past=("scored_at",),
        fractions=("probability",),
    ),
    "usage_records": Contract(required=("date",), positive=("api_calls", "messages_sent")),
}
