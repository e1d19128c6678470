"""Events set aside: what of the inbox could not be applied, why, and how it is tried again.

Such an event is processed and holds its error. Nothing tries it again by itself, so it cannot keep a worker busy; after
a fix the operator does, with `rapport inbox retry`. Applying an event twice changes nothing.
"""

from __future__ import annotations

import datetime as dt
import logging
import uuid
from collections.abc import Mapping
from typing import NamedTuple

import psycopg
import sqlalchemy as sa
from sqlalchemy.orm import Session

from serving.kit.database import TENANT

log = logging.getLogger(__name__)

# SQLSTATEs that tell of the server or of other transactions and not of the rows: connection, rollback, resources,
# locks, operator, system.
_OUTAGES = ("08", "40", "53", "55", "57P", "58")

_SET_ASIDE = sa.text("""
    UPDATE inbound_events AS e SET processed_at = :now, attempts = e.attempts + 1, error = said.error
    FROM unnest(CAST(:ids AS uuid[]), CAST(:errors AS text[])) AS said (id, error) WHERE e.id = said.id
""")
_LIST = sa.text("""
    SELECT id, kind, received_at, attempts, error FROM inbound_events
    WHERE error IS NOT NULL ORDER BY received_at DESC, id LIMIT :limit
""")
_COUNTS = sa.text("""
    SELECT kind, error, count(*) AS events, max(received_at) AS latest FROM inbound_events
    WHERE error IS NOT NULL GROUP BY kind, error ORDER BY count(*) DESC, kind, error LIMIT 100
""")
_RETRY = sa.text("""
    UPDATE inbound_events SET processed_at = NULL, error = NULL, attempts = 0
    WHERE error IS NOT NULL AND (CAST(:id AS uuid) IS NULL OR id = :id)
""")


class AsideEvent(NamedTuple):
    """One event set aside. What could not be decoded is named by its field, not by its value."""

    id: uuid.UUID
    kind: str
    received_at: dt.datetime
    attempts: int
    reason: str


class AsideCount(NamedTuple):
    """How many events of a kind were set aside for one reason, and when the latest came (UTC)."""

    kind: str
    reason: str
    events: int
    latest: dt.datetime


def set_aside(session: Session, reasons: Mapping[uuid.UUID, str], now: dt.datetime) -> None:
    """Marks the events as processed, each with its reason."""
    session.execute(_SET_ASIDE, {"ids": list(reasons), "errors": list(reasons.values()), "now": now})
    log.warning("inbound.set_aside", extra={"tenant_id": str(session.info[TENANT]), "events": len(reasons)})


def aside_events(session: Session, limit: int = 100) -> list[AsideEvent]:
    """The newest events that are set aside."""
    return [AsideEvent._make(row) for row in session.execute(_LIST, {"limit": limit})]


def aside_counts(session: Session) -> list[AsideCount]:
    """What is set aside, by kind and reason, the most frequent first."""
    return [AsideCount._make(row) for row in session.execute(_COUNTS)]


def retry(session: Session, event_id: uuid.UUID | None = None) -> int:
    """How many events the inbox will apply again: the one named, or all that are set aside."""
    done = session.execute(_RETRY, {"id": event_id})
    return int(done.rowcount)  # type: ignore[attr-defined]


def is_outage(error: BaseException) -> bool:
    """Whether the error tells of the database or the machine, so that the events are not to blame and will be tried
    again by the next sweep."""
    original = getattr(error, "orig", None) or error
    if isinstance(original, psycopg.Error):
        if original.sqlstate is None:
            return isinstance(original, (psycopg.OperationalError, psycopg.InterfaceError))
        return original.sqlstate.startswith(_OUTAGES)
    return isinstance(original, (sa.exc.TimeoutError, MemoryError, OSError))


def reason_of(error: BaseException) -> str:
    """Which error it was. PostgreSQL's message may quote a value, so only what names the rule is kept of it."""
    original = getattr(error, "orig", None) or error
    if isinstance(original, psycopg.Error):
        place = ".".join(part for part in (original.diag.table_name, original.diag.column_name) if part)
        rule = (
            original.diag.constraint_name or place or (original.diag.message_primary or "").split(":")[0].split('"')[0]
        )
        return f"{type(original).__name__}: {rule}"[:500]
    return f"{type(original).__name__}: {original}"[:500]
