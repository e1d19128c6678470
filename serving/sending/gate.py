"""The one decision about a send, made with the rows it depends on locked. Pure: facts in, verdict out."""

from __future__ import annotations

import datetime as dt
import uuid
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

# The provider's limit for one pair of numbers.
PAIR_SECONDS = 6
TIER_RETRY_SECONDS = 900


class Outcome(StrEnum):
    SEND = "send"
    DEFER = "defer"
    SUPPRESS = "suppress"


@dataclass(frozen=True, slots=True)
class Verdict:
    """`due_at` is set for a deferral only."""

    outcome: Outcome
    reason: str
    due_at: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class QuietHours:
    """No marketing from `start` to `end` o'clock of the recipient's day; equal hours mean none are quiet."""

    start: int
    end: int

    def ends_at(self, now: dt.datetime, zone: str, fallback: str) -> dt.datetime | None:
        """When the quiet hours that hold at `now` end (UTC), or None when it is not quiet there."""
        if self.start == self.end:
            return None
        local = now.astimezone(_zone(zone, fallback))
        is_quiet = (
            self.start <= local.hour < self.end
            if self.start < self.end
            else local.hour >= self.start or local.hour < self.end
        )
        if not is_quiet:
            return None
        end = local.replace(hour=self.end, minute=0, second=0, microsecond=0)
        if end <= local:
            end += dt.timedelta(days=1)
        return end.astimezone(dt.UTC)


@dataclass(frozen=True, slots=True)
class Rules:
    """What holds for the whole batch. `tier_left` is how many people not yet written to today may be."""

    now: dt.datetime
    tenant_zone: str
    quiet_hours: QuietHours
    marketing_cap_per_7_days: int
    number_is_active: bool
    number_quality: str
    tier_left: int | None


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of one due message under its locks. `attempt` is the one that a send would be, from 1."""

    id: uuid.UUID
    contact_id: uuid.UUID
    campaign_id: uuid.UUID | None
    purpose: str
    payload: dict[str, Any]
    attempt: int
    phone: str | None
    contact_status: str
    zone: str | None
    consent: str | None
    is_unsubscribed: bool
    window_expires_at: dt.datetime | None
    campaign_status: str | None
    campaign_ends_at: dt.datetime | None
    marketing_7d: int
    last_outbound_at: dt.datetime | None
    counts_for_tier: bool


def decide(facts: Facts, rules: Rules) -> Verdict:
    """Whether this message may go out now. What can never be right again suppresses; what time may cure defers."""
    for check in (_forbidden, _state, _time):
        verdict = check(facts, rules)
        if verdict is not None:
            return verdict
    return Verdict(Outcome.SEND, "allowed")


def _forbidden(facts: Facts, rules: Rules) -> Verdict | None:
    reason = None
    if facts.is_unsubscribed and facts.purpose == "marketing":
        reason = "unsubscribed"
    elif facts.consent == "opted_out":
        reason = "opted_out"
    elif facts.purpose == "marketing" and facts.consent != "opted_in":
        reason = "no_consent"
    elif facts.phone is None:
        reason = "no_phone"
    elif facts.contact_status != "active":
        reason = facts.contact_status
    elif facts.campaign_status in ("stopped", "completed"):
        reason = f"campaign_{facts.campaign_status}"
    elif facts.campaign_ends_at is not None and facts.campaign_ends_at <= rules.now:
        reason = "campaign_ended"
    elif facts.payload.get("kind") != "template" and not _window_is_open(facts, rules):
        reason = "window_closed"
    return Verdict(Outcome.SUPPRESS, reason) if reason else None


def _state(facts: Facts, rules: Rules) -> Verdict | None:
    hour = rules.now + dt.timedelta(hours=1)
    if facts.campaign_id is not None and facts.campaign_status != "running":
        return Verdict(Outcome.DEFER, f"campaign_{facts.campaign_status}", rules.now)
    if not rules.number_is_active:
        return Verdict(Outcome.DEFER, "number_stopped", hour)
    if facts.purpose == "marketing" and rules.number_quality != "green":
        return Verdict(Outcome.DEFER, f"number_quality_{rules.number_quality}", hour)
    return None


def _time(facts: Facts, rules: Rules) -> Verdict | None:
    if facts.purpose == "marketing":
        quiet_until = rules.quiet_hours.ends_at(rules.now, facts.zone or rules.tenant_zone, rules.tenant_zone)
        if quiet_until is not None:
            return Verdict(Outcome.DEFER, "quiet_hours", quiet_until)
        if facts.marketing_7d >= rules.marketing_cap_per_7_days:
            return Verdict(Outcome.SUPPRESS, "frequency_cap")
    if facts.last_outbound_at is not None:
        pair_free_at = facts.last_outbound_at + dt.timedelta(seconds=PAIR_SECONDS)
        if pair_free_at > rules.now:
            return Verdict(Outcome.DEFER, "pair_rate", pair_free_at)
    if rules.tier_left is not None and rules.tier_left <= 0 and facts.counts_for_tier:
        return Verdict(Outcome.DEFER, "messaging_tier", rules.now + dt.timedelta(seconds=TIER_RETRY_SECONDS))
    return None


def _window_is_open(facts: Facts, rules: Rules) -> bool:
    # A window that closes while the request is under way would be refused by the provider.
    return facts.window_expires_at is not None and facts.window_expires_at > rules.now + dt.timedelta(seconds=5)


@lru_cache(maxsize=1024)
def _zone(name: str, fallback: str) -> ZoneInfo:
    for candidate in (name, fallback):
        try:
            return ZoneInfo(candidate)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            continue
    return ZoneInfo("UTC")
