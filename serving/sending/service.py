"""The send path: claim, then gate, send and record under the same locks.

T1 claims a batch and commits before the network is touched. T2 locks the claimed rows, shares the consents, decides,
sends
the batch at once and records every result. With a provider that neither deduplicates nor can be asked (the Cloud API) a
message is sent at most once: a claim whose worker died is `unknown` until a status names it, and never sent again.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import logging
import random
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy.orm import Session

from gateway.driver import Abilities, Driver
from gateway.errors import GatewayError, Reaction
from gateway.types import OutboundMessage, PhoneNumber, SendReceipt
from serving.consent.service import ConsentChange, record_consents
from serving.consent.suppression import suppressed_among
from serving.kit.database import Database
from serving.sending import statements
from serving.sending.drivers import Drivers
from serving.sending.gate import POLICY_VERSION, Facts, Outcome, QuietHours, Rules, Verdict, decide
from serving.sending.results import Result, read_result
from serving.settings import Settings

log = logging.getLogger(__name__)

_LOCK = 7232
_OPTED_OUT_CODE = 131050
_NOBODY_CODE = 131026
_PACE_SECONDS = 0.2


class PaceUsedUp(Exception):
    """The number may send again in a moment."""


class Paces(Protocol):
    def take(self, number_id: uuid.UUID, wanted: int, rate_per_second: int) -> int: ...


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
class Claim:
    """Messages this worker may send until `lease_until`; (id, attempt) pairs."""

    number: Number
    messages: tuple[tuple[uuid.UUID, int], ...]
    lease_until: dt.datetime


@dataclass(frozen=True, slots=True)
class SentBatch:
    """How many messages ended in each state (accepted, queued, failed, suppressed, unknown)."""

    states: Counter[str] = field(default_factory=Counter)

    @property
    def claimed(self) -> int:
        return sum(self.states.values())


@dataclass
class Sender:
    """What a worker process sends with. `clock` and `chance` are given, so that tests decide both."""

    database: Database
    settings: Settings
    drivers: Drivers
    pacer: Paces
    clock: Callable[[], dt.datetime]
    chance: random.Random
    pause: Callable[[float], None] = time.sleep

    def dispatch(self, tenant_id: uuid.UUID, patience_seconds: float = 20.0) -> Counter[str]:
        """Sends what is due for the tenant, batch after batch at the numbers' pace, until nothing is due or the
        patience
        is used up; how many messages ended in each state. Blocks on the network and on the pace."""
        total: Counter[str] = Counter()
        recover(self, tenant_id)
        for number_id in due_numbers(self.database, tenant_id, self.clock()):
            until = self.clock() + dt.timedelta(seconds=patience_seconds)
            while self.clock() < until:
                try:
                    claim = claim_batch(self, tenant_id, number_id)
                except PaceUsedUp:
                    self.pause(_PACE_SECONDS)
                    continue
                if claim is None:
                    break
                total += send_batch(self, tenant_id, claim).states
        complete_campaigns(self.database, tenant_id)
        return total


def due_numbers(database: Database, tenant_id: uuid.UUID, now: dt.datetime) -> list[uuid.UUID]:
    """The numbers that have a message due, campaigns scheduled for `now` included, which this sets running."""
    with database.tenant(tenant_id) as session:
        session.execute(sa.text(statements.START_SCHEDULED), {"now": now})
        return list(session.scalars(sa.text(statements.NUMBERS_DUE), {"now": now}))


def claim_batch(sender: Sender, tenant_id: uuid.UUID, number_id: uuid.UUID) -> Claim | None:
    """T1: the next messages of a number, leased to this worker; None when none are due. Raises: PaceUsedUp."""
    with sender.database.tenant(tenant_id) as session:
        number = _number(session, number_id)
        granted = sender.pacer.take(number.id, sender.settings.send_batch_size, number.messages_per_second)
        if granted <= 0:
            raise PaceUsedUp
        now = sender.clock()
        lease_until = now + dt.timedelta(seconds=sender.settings.send_lease_seconds)
        parameters = {"now": now, "lease_until": lease_until, "number_id": number_id, "limit": granted}
        rows = session.execute(sa.text(statements.CLAIM), parameters).all()
    return Claim(number, tuple((row.id, row.attempt) for row in rows), lease_until) if rows else None


def send_batch(sender: Sender, tenant_id: uuid.UUID, claim: Claim) -> SentBatch:
    """T2: gate, send and record what of the claim is still ours, then stop what the provider's answers tell to stop."""
    driver = sender.drivers.of(claim.number.driver, claim.number.provider_number_id)
    with sender.database.tenant(tenant_id) as session:
        facts, rules = _gather(session, sender, claim)
        verdicts = _decide_all(facts, rules)
        outgoing = [item for item in facts if verdicts[item.id].outcome is Outcome.SEND]
        started_at = sender.clock()
        answers = _send(driver, outgoing)
        finished_at = sender.clock()
        results = {
            item.id: read_result(answer, item.attempt, driver.abilities, finished_at, sender.chance)
            for item, answer in zip(outgoing, answers, strict=True)
        }
        _record(session, tenant_id, facts, verdicts, results, started_at, finished_at)
    _react(sender, tenant_id, claim.number, facts, results, finished_at)
    states = Counter(result.state for result in results.values())
    states.update(_state_of(verdict) for verdict in verdicts.values() if verdict.outcome is not Outcome.SEND)
    return SentBatch(states)


def recover(sender: Sender, tenant_id: uuid.UUID) -> int:
    """How many claims of dead workers were settled: queued again where the provider recognises an id it has seen,
    else unknown. A worker that is merely slow still holds its rows, and they are left to it."""
    now, settled = sender.clock(), 0
    with sender.database.tenant(tenant_id) as session:
        for number_id in session.scalars(sa.text(statements.NUMBERS_WITH_ENDED_LEASES), {"now": now}).all():
            number = _number(session, number_id)
            abilities = sender.drivers.of(number.driver, number.provider_number_id).abilities
            state = "queued" if abilities is Abilities.DEDUPE else "unknown"
            parameters = {"now": now, "number_id": number_id, "state": state, "reason": "lease_ended"}
            rows = session.execute(sa.text(statements.ENDED_LEASES), parameters).all()
            attempts = [
                {"id": row.id, "attempt": row.attempt, "started_at": now, "finished_at": now, "outcome": "lease_ended"}
                for row in rows
            ]
            if attempts:
                log.warning("sending.leases_ended", extra={"tenant_id": str(tenant_id), "messages": len(attempts)})
                _execute_rows(session, statements.ATTEMPTS, attempts, tenant_id=tenant_id)
            settled += len(attempts)
    return settled


def complete_campaigns(database: Database, tenant_id: uuid.UUID) -> list[uuid.UUID]:
    """Broadcasts that have nothing left to send, now completed."""
    with database.tenant(tenant_id) as session:
        return list(session.scalars(sa.text(statements.COMPLETE_CAMPAIGNS)))


def _number(session: Session, number_id: uuid.UUID) -> Number:
    names = [column.name for column in dataclasses.fields(Number)]
    row = session.execute(
        sa.text(f"SELECT {', '.join(names)} FROM phone_numbers WHERE id = :id"), {"id": number_id}
    ).one()
    return Number(**row._mapping)


def _gather(session: Session, sender: Sender, claim: Claim) -> tuple[list[Facts], Rules]:
    now = sender.clock()
    ids = [message_id for message_id, _ in claim.messages]
    mine = {"ids": ids, "attempts": [attempt for _, attempt in claim.messages], "now": now}
    held = list(session.scalars(sa.text(statements.LOCK), mine))
    session.execute(sa.text(statements.SHARE_CONSENTS), {"ids": held})
    session.execute(sa.text(statements.SHARE_CAMPAIGNS), {"ids": held})
    rows = session.execute(sa.text(statements.FACTS), {"ids": held, "now": now}).mappings().all()
    phones = {row["contact_id"]: row["phone"] for row in rows if row["phone"]}
    unsubscribed = suppressed_among(session, phones, sender.settings.phone_hmac_key.get_secret_value())
    facts = [Facts(**row, is_unsubscribed=row["contact_id"] in unsubscribed) for row in rows]
    return facts, _rules(session, sender.settings, claim.number.id, now)


def _rules(session: Session, settings: Settings, number_id: uuid.UUID, now: dt.datetime) -> Rules:
    tenant = session.execute(sa.text("SELECT timezone, settings FROM tenants")).one()
    number = _number(session, number_id)
    quiet = tenant.settings.get("quiet_hours") or {}
    tier_left = None
    if number.messaging_tier is not None:
        # The tier is the portfolio's: two workers must not both spend what is left of it.
        session.execute(
            sa.text("SELECT pg_advisory_xact_lock(:use, hashtext(current_setting('app.tenant_id')))"), {"use": _LOCK}
        )
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


def _decide_all(facts: Sequence[Facts], rules: Rules) -> dict[uuid.UUID, Verdict]:
    """One verdict each; what the batch itself sends counts for those after it."""
    verdicts: dict[uuid.UUID, Verdict] = {}
    written_to: set[uuid.UUID] = set()
    for item in facts:
        if item.contact_id in written_to:
            item = dataclasses.replace(item, last_outbound_at=rules.now)
        verdict = decide(item, rules)
        if verdict.outcome is Outcome.SEND:
            written_to.add(item.contact_id)
            if rules.tier_left is not None and item.counts_for_tier:
                rules = dataclasses.replace(rules, tier_left=rules.tier_left - 1)
        verdicts[item.id] = verdict
    return verdicts


def _send(driver: Driver, facts: Sequence[Facts]) -> list[SendReceipt | GatewayError]:
    if not facts:
        return []
    return driver.send_all(
        [
            OutboundMessage(
                message_id=item.id,
                to=PhoneNumber(item.phone or ""),
                kind=item.payload["kind"],
                not_after=item.lease_until,
                text=item.payload.get("text"),
                template_name=item.payload.get("template_name"),
                template_language=item.payload.get("template_language"),
                template_parameters=item.payload.get("template_parameters") or (),
            )
            for item in facts
        ]
    )


def _state_of(verdict: Verdict) -> str:
    return "queued" if verdict.outcome is Outcome.DEFER else "suppressed"


def _record(
    session: Session, tenant_id: uuid.UUID, facts: Sequence[Facts], verdicts: dict[uuid.UUID, Verdict],
    results: dict[uuid.UUID, Result], started_at: dt.datetime, finished_at: dt.datetime,
) -> None:  # fmt: skip
    rows, attempts, decisions, accepted = [], [], [], []
    for item in facts:
        result, verdict = results.get(item.id), verdicts[item.id]
        if result is None:
            rows.append(
                {"id": item.id, "state": _state_of(verdict), "reason": verdict.reason, "due_at": verdict.due_at}
            )
            decisions.append(
                {"id": item.id, "campaign_id": item.campaign_id, "contact_id": item.contact_id,
                 "outcome": verdict.outcome.value, "reason": verdict.reason}
            )  # fmt: skip
            continue
        rows.append(
            {"id": item.id, "state": result.state, "reason": result.reason, "due_at": result.due_at,
             "provider_id": result.provider_id, "accepted_at": result.accepted_at}
        )  # fmt: skip
        attempts.append(
            {"id": item.id, "attempt": item.attempt, "started_at": started_at, "finished_at": finished_at,
             "outcome": result.outcome, "provider_id": result.provider_id, "error_code": result.error_code,
             "error_detail": result.error_detail}
        )  # fmt: skip
        if result.state == "accepted":
            accepted.append(item.id)
    _execute_rows(session, statements.RECORD, rows)
    _execute_rows(session, statements.ATTEMPTS, attempts, tenant_id=tenant_id)
    _execute_rows(session, statements.DECISIONS, decisions, tenant_id=tenant_id, policy=POLICY_VERSION, now=finished_at)
    if accepted:
        session.execute(sa.text(statements.CONVERSATIONS), {"ids": accepted, "tenant_id": tenant_id})
        session.execute(sa.text(statements.MESSAGES), {"ids": accepted, "tenant_id": tenant_id})


def _execute_rows(session: Session, statement: str, rows: Iterable[dict[str, Any]], **parameters: Any) -> None:
    rows = list(rows)
    if rows:
        session.execute(sa.text(statement), parameters | {"rows": json.dumps(rows, default=str)})


def _react(
    sender: Sender, tenant_id: uuid.UUID, number: Number, facts: Sequence[Facts], results: dict[uuid.UUID, Result],
    now: dt.datetime,
) -> None:  # fmt: skip
    """In a transaction of its own: these rows are locked by others in another order than the send path's."""
    refused = [(item, results[item.id]) for item in facts if item.id in results and results[item.id].reaction]
    if not refused:
        return
    stopping = next((result for _, result in refused if result.reaction is Reaction.STOP_NUMBER), None)
    templates = {item.campaign_id: result for item, result in refused if result.reaction is Reaction.STOP_TEMPLATE}
    nobody = [item.contact_id for item, result in refused if result.error_code == _NOBODY_CODE]
    withdrawn = [(item, result) for item, result in refused if result.error_code == _OPTED_OUT_CODE]
    with sender.database.tenant(tenant_id) as session:
        if stopping is not None:
            reason = {"reason": f"provider:{stopping.error_code}", "number_id": number.id}
            session.execute(sa.text(statements.STOP_NUMBER), reason)
            session.execute(sa.text(statements.PAUSE_CAMPAIGNS_OF_NUMBER), reason)
            log.error("sending.number_stopped", extra={"number_id": str(number.id), "code": stopping.error_code})
        for campaign_id, result in templates.items():
            parameters = {"ids": [campaign_id], "reason": f"template:{result.error_code}"}
            session.execute(sa.text(statements.PAUSE_CAMPAIGNS), parameters)
            log.error("sending.template_stopped", extra={"campaign_id": str(campaign_id), "code": result.error_code})
        if nobody:
            session.execute(sa.text(statements.UNREACHABLE), {"contacts": nobody})
        changes = [
            ConsentChange(item.contact_id, f"send:{item.id}:{_OPTED_OUT_CODE}", "opted_out", now, now, "provider",
                          proof={"outbound_message_id": str(item.id), "code": _OPTED_OUT_CODE})
            for item, _ in withdrawn
        ]  # fmt: skip
        record_consents(session, tenant_id, changes, now, sender.settings.phone_hmac_key.get_secret_value())
