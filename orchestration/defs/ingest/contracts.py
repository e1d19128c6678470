"""What every row that enters the warehouse must keep to, table by table, as Great Expectations suites."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import Any

# Clocks of providers run ahead of ours by seconds; more is a broken row.
CLOCK_SKEW = dt.timedelta(minutes=5)
KEYS = ("tenant_id", "id")
PURPOSES = ["marketing", "utility", "service"]
CONSENTS = ["opted_in", "opted_out"]


@dataclass(frozen=True)
class Contract:
    """`required` columns hold a value, `allowed` ones a listed value, `past` ones a time that has come, `positive` ones
    no negative number."""

    required: tuple[str, ...] = ()
    keys: tuple[str, ...] = KEYS
    allowed: dict[str, list[str]] = field(default_factory=dict)
    past: tuple[str, ...] = ()
    positive: tuple[str, ...] = ()

    @property
    def columns(self) -> list[str]:
        return list(dict.fromkeys([*self.keys, *self.required, *self.allowed, *self.past, *self.positive]))


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
}


@dataclass(frozen=True)
class Verdict:
    """What a contract said of some rows. `broken` maps an expectation in words to how many rows break it."""

    rows: int
    expectations: int
    broken: dict[str, int]
    examples: dict[str, list[Any]]

    @property
    def passed(self) -> bool:
        return not self.broken


def judge(table: str, rows: Any, now: dt.datetime) -> Verdict:
    """The verdict on `rows`, a pandas frame with (at least) the contract's columns; times are UTC. No rows keep every
    contract."""
    if rows.empty:
        return Verdict(0, 0, {}, {})
    import great_expectations as gx  # ten seconds of processor time: only where rows are judged

    context = _context()
    suite = gx.ExpectationSuite(name=f"{table} contract", expectations=_expectations(CONTRACTS[table], now))
    source = context.data_sources.add_or_update_pandas("raw")
    batch = source.add_dataframe_asset(table).add_batch_definition_whole_dataframe("new rows")
    result = batch.get_batch({"dataframe": rows}).validate(suite, result_format="BASIC")
    broken, examples = {}, {}
    for outcome in result.results:
        if outcome.success:
            continue
        kwargs = outcome.expectation_config.kwargs
        expectation = outcome.expectation_config.type.removeprefix("expect_")
        words = f"{expectation} ({kwargs['column']})"
        broken[words] = int(outcome.result.get("unexpected_count") or 0)
        examples[words] = [str(value) for value in outcome.result.get("partial_unexpected_list", [])[:3]]
    return Verdict(len(rows), len(result.results), broken, examples)


def _context() -> Any:
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    return context


def _expectations(contract: Contract, now: dt.datetime) -> list[Any]:
    import great_expectations.expectations as gxe
    import pandas as pd

    latest = pd.Timestamp(now + CLOCK_SKEW)
    required = [*contract.keys, *contract.required]
    return [
        *(gxe.ExpectColumnValuesToNotBeNull(column=column) for column in required),
        *(
            gxe.ExpectColumnValuesToBeInSet(column=column, value_set=values)
            for column, values in contract.allowed.items()
        ),
        *(gxe.ExpectColumnValuesToNotBeNull(column=column) for column in contract.past),
        *(gxe.ExpectColumnValuesToBeBetween(column=column, max_value=latest) for column in contract.past),
        *(gxe.ExpectColumnValuesToBeBetween(column=column, min_value=0) for column in contract.positive),
    ]
