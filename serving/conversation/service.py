"""The inbox applied: claimed events become contacts, messages, statuses, replies, orders and consent, many at a
time."""

from __future__ import annotations

import datetime as dt
import logging
import uuid
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from gateway.driver import Driver
from gateway.registry import build_driver
from gateway.settings import GatewaySettings
from serving.consent import numbers
from serving.consent.classification import classify
from serving.consent.confirmation import confirm_opt_outs
from serving.consent.keywords import DEFAULT_OPT_IN
from serving.consent.preferences import settle_preferences
from serving.consent.service import ConsentChange, record_consents
from serving.conversation import statements
from serving.conversation.aside import is_outage, reason_of, set_aside
from serving.conversation.decoding import Claimed, ConsentRow, Decoded, decode
from serving.kit.database import TENANT, Database
from serving.settings import settings

log = logging.getLogger(__name__)

# No lock of one tenant's is another's: the first number names this use, the second the tenant.
_LOCK = 7231
_LONGEST_ATTRIBUTION = 30 * 86_400
# Of payloads as PostgreSQL keeps them; 5,000 usual events have 5 MB.
_BATCH_BYTES = 16_000_000


@dataclass(frozen=True, slots=True)
class ProcessedBatch:
    """What one call did. `waiting` statuses came before their message and are tried again; `refused` events hold their
    error; `queued` answers are due to be sent; `is_busy` says that another worker is processing this tenant's inbox,
    so nothing was claimed."""

    claimed: int = 0
    applied: int = 0
    waiting: int = 0
    refused: int = 0
    suppressed: int = 0
    queued: int = 0
    is_busy: bool = False

    def __add__(self, other: ProcessedBatch) -> ProcessedBatch:
        return ProcessedBatch(
            self.claimed + other.claimed, self.applied + other.applied, self.waiting + other.waiting,
            self.refused + other.refused, self.suppressed + other.suppressed, self.queued + other.queued,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Context:
    tenant_id: uuid.UUID
    now: dt.datetime
    phone_key: str
    driver: Driver
    backfilled_until: dt.datetime | None
    opt_in_keywords: Collection[str]
    status_wait: dt.timedelta


def process_inbound(
    database: Database, tenant_id: uuid.UUID, now: dt.datetime, limit: int = 5000, *, phone_key: str | None = None,
    status_wait: dt.timedelta = dt.timedelta(hours=24),
) -> ProcessedBatch:  # fmt: skip
    """Applies up to `limit` of the tenant's oldest unprocessed events, and the waiting statuses whose message is
    there now, in one transaction. `claimed == 0` means that nothing is left to do now. One worker at a time per tenant.

    An event that makes anything fail is isolated and set aside with its reason, and costs the others nothing; see
    serving.conversation.aside. Raises: what says that the database is away, and then nothing is set aside.
    """
    key = phone_key if phone_key is not None else settings().phone_hmac_key.get_secret_value()
    try:
        return _process(database, tenant_id, now, limit, key, status_wait, None)
    except Exception as error:
        if is_outage(error):
            raise
        log.warning("inbound.batch_failed", extra={"tenant_id": str(tenant_id), "error": type(error).__name__})
    return _isolate(database, tenant_id, now, limit, key, status_wait)


def process_all(
    database: Database, tenant_id: uuid.UUID, now: dt.datetime, limit: int = 5000, **options: Any
) -> ProcessedBatch:
    """`process_inbound` until nothing is left."""
    total = ProcessedBatch()
    while True:
        batch = process_inbound(database, tenant_id, now, limit, **options)
        total = total + batch
        if batch.claimed == 0:
            return total


def _isolate(
    database: Database, tenant_id: uuid.UUID, now: dt.datetime, limit: int, key: str, wait: dt.timedelta
) -> ProcessedBatch:
    """The batch again in halves, down to the events that are refused alone."""
    with database.tenant(tenant_id) as session:
        ids = [row.id for row in _claim(session, now, limit, wait)]
    pending, total = [ids] if ids else [], ProcessedBatch()
    while pending:
        part = pending.pop()
        try:
            total = total + _process(database, tenant_id, now, limit, key, wait, part)
        except Exception as error:
            if is_outage(error):
                raise
            if len(part) > 1:
                middle = len(part) // 2
                pending += [part[middle:], part[:middle]]
                continue
            with database.tenant(tenant_id) as session:
                set_aside(session, {part[0]: reason_of(error)}, now)
            total = total + ProcessedBatch(claimed=1, refused=1)
    return total


def _process(
    database: Database, tenant_id: uuid.UUID, now: dt.datetime, limit: int, key: str, wait: dt.timedelta,
    only: Sequence[uuid.UUID] | None,
) -> ProcessedBatch:  # fmt: skip
    with database.tenant(tenant_id) as session:
        locked = session.scalar(
            sa.text("SELECT pg_try_advisory_xact_lock(:use, hashtext(:tenant))"),
            {"use": _LOCK, "tenant": str(tenant_id)},
        )
        if not locked:
            return ProcessedBatch(is_busy=True)
        events = _claim(session, now, limit, wait) if only is None else _claim_only(session, only)
        if not events:
            return ProcessedBatch()
        tenant = session.execute(sa.text("SELECT backfilled_until, settings FROM tenants")).one()
        keywords = tenant.settings.get("opt_in_keywords", DEFAULT_OPT_IN)
        context = _Context(tenant_id, now, key, _reading_driver(), tenant.backfilled_until, keywords, wait)
        return _apply(session, events, context)


def hold_inbox(session: Session) -> None:
    """Waits until no batch of the tenant's inbox is being applied; none is until the session's transaction ends."""
    session.execute(
        sa.text("SELECT pg_advisory_xact_lock(:use, hashtext(:tenant))"),
        {"use": _LOCK, "tenant": str(session.info[TENANT])},
    )


@lru_cache
def _reading_driver() -> Driver:
    gateway = GatewaySettings()
    return build_driver(gateway.driver, gateway.number_config())


def _claim(session: Session, now: dt.datetime, limit: int, wait: dt.timedelta) -> list[Claimed]:
    most = {"limit": limit, "most_bytes": _BATCH_BYTES}
    fresh = [Claimed._make(row) for row in session.execute(sa.text(statements.CLAIM), most)]
    parameters = {"limit": limit, "now": now, "expired": now - wait}
    return fresh + [Claimed._make(row) for row in session.execute(sa.text(statements.CLAIM_WAITING), parameters)]


def _claim_only(session: Session, ids: Sequence[uuid.UUID]) -> list[Claimed]:
    statement = sa.text(
        "SELECT id, provider_number_id, occurred_at, received_at, payload, attempts FROM inbound_events"
        " WHERE id = ANY(:ids) AND processed_at IS NULL ORDER BY received_at FOR UPDATE SKIP LOCKED"
    )
    return [Claimed._make(row) for row in session.execute(statement, {"ids": list(ids)})]


def _apply(session: Session, events: Sequence[Claimed], context: _Context) -> ProcessedBatch:
    decoded = decode(events, context.driver, context.backfilled_until, context.opt_in_keywords)
    _stage(session, decoded)
    tenant = {"tenant_id": context.tenant_id}
    moved = _settle_people(session, decoded, tenant) if decoded.people else {}
    changes, suppressed = _settle_consent(session, decoded.consents, context)
    if moved:
        suppressed += numbers.withdraw(session, context.tenant_id, moved, context.now, context.phone_key)
    suppressed += settle_preferences(session, context.tenant_id, decoded.preferences, context.now, context.phone_key)
    if decoded.messages:
        _run(session, statements.PLACE_MESSAGES, statements.CONVERSATIONS, statements.JOIN_CONVERSATIONS, **tenant)
        _run(session, statements.MESSAGES, **tenant)
    queued = confirm_opt_outs(session, context.tenant_id, changes, context.now)
    for provider_id, text in decoded.edits:
        session.execute(sa.text(statements.EDIT_MESSAGE), {"provider_id": provider_id, "text": text})
    if decoded.orders:
        _run(session, statements.ORDERS, **tenant)
    unmatched = _settle_statuses(session, decoded, context)
    _settle_replies(session, tenant)
    batch = _finish(session, events, decoded, unmatched, context, suppressed)
    return replace(batch, queued=queued)


def _stage(session: Session, decoded: Decoded) -> None:
    connection = session.connection()
    connection.exec_driver_sql(statements.STAGING)
    copies: list[tuple[str, Iterable[tuple[Any, ...]]]] = [
        ("in_people (ref, phone, user_id, name, known_at, wrote, last_at)", decoded.people),
        (
            "in_messages (person, provider_number_id, provider_id, direction, kind, text, reply_to, media_id,"
            " occurred_at,"
            " known_at)",
            decoded.messages,
        ),
        (
            "in_statuses (event_id, provider_id, callback_id, campaign_id, status, occurred_at, known_at, error_code)",
            decoded.statuses,
        ),
        ("in_orders (provider_id, position, name, quantity, price_cents, currency)", decoded.orders),
    ]
    raw: Any = connection.connection.driver_connection
    with raw.cursor() as cursor:
        for target, rows in copies:
            with cursor.copy(f"COPY {target} FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)
        # Of columns that name nobody: the samples stay with the session, longer than a person may.
        cursor.execute(
            "ANALYZE in_people (ref); ANALYZE in_messages (person); ANALYZE in_statuses (status);"
            " ANALYZE in_orders (position)"
        )


def _settle_people(session: Session, decoded: Decoded, tenant: dict[str, uuid.UUID]) -> dict[uuid.UUID, str]:
    """Contacts whose person wrote from another number, and that person's name at the provider."""
    _run(session, *statements.KNOWN_PEOPLE)
    _run(session, statements.NEW_PEOPLE, statements.SETTLED_PEOPLE, statements.IDENTITIES, **tenant)
    moved: dict[uuid.UUID, str] = {}
    if any(person.user_id is not None and person.phone is not None for person in decoded.people):
        moved = dict(session.execute(sa.text(statements.MOVED_PEOPLE)).tuples().all())
    _run(session, statements.REFRESH_PEOPLE, **tenant)
    return moved


def _settle_consent(session: Session, rows: Sequence[ConsentRow], context: _Context) -> tuple[list[ConsentChange], int]:
    """The changes recorded, and how many queued messages they suppressed."""
    if not rows:
        return [], 0
    contacts: dict[int, uuid.UUID] = dict(
        session.execute(
            sa.text("SELECT ref, contact_id FROM in_people WHERE ref = ANY(:refs)"),
            {"refs": [row.person for row in rows]},
        ).all()
    )
    changes = [
        ConsentChange(
            contacts[row.person], row.event_key, row.status, row.occurred_at, row.known_at, row.source, row.wording,
            row.language, _proof(row), lifts=row.status == "opted_in",
        )
        for row in rows
    ]  # fmt: skip
    return changes, record_consents(session, context.tenant_id, changes, context.now, context.phone_key)


def _proof(row: ConsentRow) -> dict[str, str | None]:
    proof = {"provider_id": row.provider_id}
    if row.grade is None:
        return dict(proof)
    return proof | {"grade": row.grade, "rule": row.rule, "provider_number_id": row.provider_number_id}


def _settle_statuses(session: Session, decoded: Decoded, context: _Context) -> set[uuid.UUID]:
    """Events whose message is not there yet."""
    if not decoded.statuses:
        return set()
    _run(session, statements.MATCH_STATUSES)
    unmatched = "SELECT event_id FROM in_statuses WHERE message_id IS NULL"
    if any(row.message_id is not None for row in decoded.statuses) and session.scalar(sa.text(unmatched)):
        session.execute(sa.text(statements.SETTLE_SENDS), {"tenant_id": context.tenant_id, "now": context.now})
        _run(session, statements.MATCH_STATUSES)
    _run(session, statements.STATUS_EVENTS, tenant_id=context.tenant_id)
    _run(session, statements.ADVANCE_MESSAGES)
    if any(row.message_id is not None for row in decoded.statuses):
        _run(session, statements.ADVANCE_SENDS)
    if any(row.error_code == 131026 for row in decoded.statuses):
        _run(session, statements.UNREACHABLE)
    return set(session.scalars(sa.text(unmatched)))


def _settle_replies(session: Session, tenant: dict[str, uuid.UUID]) -> None:
    _run(session, statements.TOUCHED, "ANALYZE in_touched")
    longest = session.scalar(sa.text("SELECT max(attribution_seconds) FROM campaigns")) or 0
    window = {"longest": max(longest, _LONGEST_ATTRIBUTION)}
    written: sa.CursorResult[Any] = session.execute(sa.text(statements.WRITTEN), window)  # type: ignore[assignment]
    if not written.rowcount:
        return
    _run(session, "ANALYZE in_written (contact_id)")
    session.execute(sa.text(statements.REPLIES), tenant | window)
    new = session.execute(sa.text(statements.UNCLASSIFIED)).tuples().all()
    labels = [(reply_id, label) for reply_id, text in new if (label := classify(text)) is not None]
    if labels:
        parameters = {"ids": [reply_id for reply_id, _ in labels], "labels": [label for _, label in labels]}
        session.execute(sa.text(statements.CLASSIFY), parameters)


def _finish(
    session: Session, events: Sequence[Claimed], decoded: Decoded, unmatched: set[uuid.UUID], context: _Context,
    suppressed: int,
) -> ProcessedBatch:  # fmt: skip
    oldest = context.now - context.status_wait
    expired = {event.id for event in events if event.id in unmatched and event.received_at < oldest}
    waiting = [event.id for event in events if event.id in unmatched and event.id not in expired]
    errors = decoded.errors | dict.fromkeys(expired, "no message with this id came within the time a status waits")
    errors = {event_id: reason for event_id, reason in errors.items() if event_id not in waiting}
    applied = [event.id for event in events if event.id not in unmatched and event.id not in errors]
    session.execute(sa.text(statements.FINISH), {"ids": applied, "now": context.now})
    if waiting:
        session.execute(sa.text(statements.WAIT), {"ids": waiting})
    if errors:
        set_aside(session, errors, context.now)
    return ProcessedBatch(len(events), len(applied), len(waiting), len(errors), suppressed)


def _run(session: Session, *texts: str, **parameters: Any) -> None:
    for text in texts:
        session.execute(sa.text(text), parameters)
