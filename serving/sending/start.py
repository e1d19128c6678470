"""The first transaction of a send: what is due is gated and marked, and may leave once this is committed.

The mark is a row of `send_attempts`. A worker that dies before the commit has sent nothing, and its messages are still
queued. After it, each message may have gone out, and is not sent again until its outcome is known.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from gateway.types import OutboundMessage, PhoneNumber
from serving.consent.service import POLICY_VERSION, START_SECONDS
from serving.consent.suppression import suppressed_among
from serving.sending import statements
from serving.sending.gate import Facts, Outcome, QuietHours, Rules, Verdict, decide
from serving.settings import Settings

# Each lock's first number names its use; the second is its tenant or contact.
_TIER_LOCK, _CONTACT_LOCK = 7232, 7233


class Busy(Exception):
    """What is due is held by others at this moment."""


@dataclass(frozen=True, slots=True)
class Number:
    id: uuid.UUID
    provider_number_id: str
    driver: str
    status: str
    quality_score: str
    messaging_tier: int | None
    messages_per_second: int


@dataclass(frozen=True, slots=True)
class Started:
    """A marked batch: what may leave, each until its `not_after`. `held_back` counts the others by their state."""

    number: Number
    messages: tuple[tuple[Facts, OutboundMessage], ...]
    held_back: Counter[str]


def start(
    session: Session, tenant_id: uuid.UUID, number: Number, limit: int, now: dt.datetime, settings: Settings
) -> Started | None:
    """Decides about up to `limit` due messages of the number and marks those that go out; None when none are due.
    Waits for nobody. Raises: Busy."""
    due = session.execute(
        sa.text(statements.DUE), {"now": now, "number_id": number.id, "limit": limit}
    ).all()  # fmt: skip
    if not due:
        return None
    facts = _gather(session, due, settings, now)
    if not facts:
        raise Busy
    not_after = now + dt.timedelta(seconds=START_SECONDS)
    going: list[tuple[Facts, OutboundMessage]] = []
    held: list[tuple[Facts, Verdict]] = []
    for item, verdict in _decide_all(facts, _rules(session, settings, number, now)):
        if verdict.outcome is not Outcome.SEND:
            held.append((item, verdict))
        elif (message := _outbound(item, not_after)) is not None:
            going.append((item, message))
        else:
            held.append((item, Verdict(Outcome.SUPPRESS, "invalid_message")))
    if going:
        lease_until = now + dt.timedelta(seconds=settings.send_lease_seconds)
        mark = {"tenant_id": tenant_id, "ids": [item.id for item, _ in going], "now": now, "lease_until": lease_until}
        session.execute(sa.text(statements.MARK), mark)
    _hold_back(session, tenant_id, held, now)
    return Started(number, tuple(going), Counter(_state_of(verdict) for _, verdict in held))


def read_number(session: Session, number_id: uuid.UUID) -> Number:
    names = [column.name for column in dataclasses.fields(Number)]
    row = session.execute(
        sa.text(f"SELECT {', '.join(names)} FROM phone_numbers WHERE id = :id"), {"id": number_id}
    ).one()
    return Number(**row._mapping)


def execute_rows(session: Session, statement: str, rows: Iterable[dict[str, Any]], **parameters: Any) -> Sequence[Any]:
    """The rows returned by a statement that takes `rows` as one JSON array; none for no rows."""
    rows = list(rows)
    if not rows:
        return ()
    result = session.execute(sa.text(statement), parameters | {"rows": json.dumps(rows, default=str)})
    return result.all() if result.returns_rows else ()  # type: ignore[attr-defined]


def _gather(session: Session, due: Sequence[sa.Row[Any]], settings: Settings, now: dt.datetime) -> list[Facts]:
    """The facts of what nobody else is deciding about or changing, read after its locks were taken."""
    contacts = sorted({row.contact_id for row in due})
    campaigns = sorted({row.campaign_id for row in due if row.campaign_id is not None})
    asked = {"contacts": contacts, "use": _CONTACT_LOCK}
    free = set(session.scalars(sa.text(statements.FREE_CONTACTS), asked))
    parameters = {
        "ids": [row.id for row in due if row.contact_id in free],
        "consents": list(session.scalars(sa.text(statements.SHARE_CONSENTS), {"contacts": contacts})),
        "campaigns": list(session.scalars(sa.text(statements.SHARE_CAMPAIGNS), {"campaigns": campaigns})),
        "now": now,
    }
    rows = session.execute(sa.text(statements.FACTS), parameters).mappings().all()
    phones = {row["contact_id"]: row["phone"] for row in rows if row["phone"]}
    unsubscribed = suppressed_among(session, phones, settings.phone_hmac_key.get_secret_value())
    return [Facts(**row, is_unsubscribed=row["contact_id"] in unsubscribed) for row in rows]


def _rules(session: Session, settings: Settings, number: Number, now: dt.datetime) -> Rules:
    tenant = session.execute(sa.text("SELECT timezone, settings FROM tenants")).one()
    quiet = tenant.settings.get("quiet_hours") or {}
    tier_left = None
    if number.messaging_tier is not None:
        # The tier is the portfolio's: two workers must not both spend what is left of it.
        if not session.scalar(sa.text(statements.TIER_IS_FREE), {"use": _TIER_LOCK}):
            raise Busy
        tier_left = number.messaging_tier - (session.scalar(sa.text(statements.PEOPLE_TODAY), {"now": now}) or 0)
    return Rules(
        now=now,
        tenant_zone=tenant.timezone,
        quiet_hours=QuietHours(
            int(quiet.get("start", settings.quiet_hours_start)), int(quiet.get("end", settings.quiet_hours_end))
        ),
        marketing_cap_per_7_days=int(
            tenant.settings.get("marketing_cap_per_7_days", settings.marketing_cap_per_7_days)
        ),
        number_is_active=number.status == "active",
        number_quality=number.quality_score,
        tier_left=tier_left,
    )


def _decide_all(facts: Sequence[Facts], rules: Rules) -> Iterator[tuple[Facts, Verdict]]:
    """Each with its verdict; what the batch itself sends counts for those after it."""
    written_to: Counter[uuid.UUID] = Counter()
    for item in facts:
        if earlier := written_to[item.contact_id]:
            item = dataclasses.replace(
                item, last_outbound_at=rules.now, marketing_7d=item.marketing_7d + earlier, counts_for_tier=False
            )
        verdict = decide(item, rules)
        if verdict.outcome is Outcome.SEND:
            written_to[item.contact_id] += 1
            if rules.tier_left is not None and item.counts_for_tier:
                rules = dataclasses.replace(rules, tier_left=rules.tier_left - 1)
        yield item, verdict


def _outbound(item: Facts, not_after: dt.datetime) -> OutboundMessage | None:
    """The message as the driver takes it; None for one that no driver could express."""
    try:
        return OutboundMessage(
            message_id=item.id,
            to=PhoneNumber(item.phone or ""),
            kind=item.payload["kind"],
            not_after=not_after,
            text=item.payload.get("text"),
            template_name=item.payload.get("template_name"),
            template_language=item.payload.get("template_language"),
            template_parameters=item.payload.get("template_parameters") or (),
        )
    except (ValueError, KeyError):
        return None


def _state_of(verdict: Verdict) -> str:
    return "queued" if verdict.outcome is Outcome.DEFER else "suppressed"


def _hold_back(session: Session, tenant_id: uuid.UUID, held: Sequence[tuple[Facts, Verdict]], now: dt.datetime) -> None:
    rows = [
        {"id": item.id, "state": _state_of(verdict), "reason": verdict.reason, "due_at": verdict.due_at}
        for item, verdict in held
    ]
    decisions = [
        {"id": item.id, "campaign_id": item.campaign_id, "contact_id": item.contact_id,
         "outcome": verdict.outcome.value, "reason": verdict.reason}
        for item, verdict in held
    ]  # fmt: skip
    execute_rows(session, statements.HOLD_BACK, rows)
    execute_rows(session, statements.DECISIONS, decisions, tenant_id=tenant_id, policy=POLICY_VERSION, now=now)
