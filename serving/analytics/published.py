"""The published marts, read under the tenant's rights. A transaction sees one snapshot of all of them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import psycopg
import sqlalchemy as sa
from fastapi import Depends, Request
from sqlalchemy.orm import Session

from serving.errors import Unavailable
from serving.kit.clock import NowDep
from serving.publication.notes import SetAside

REMEDY = "`rapport run` builds the warehouse and publishes its marts"


class FiguresUnavailable(Unavailable):
    def headers(self) -> dict[str, str]:
        return {"Retry-After": "60"}


class NothingPublished(FiguresUnavailable):
    title = "No figures have been published yet"


class MartsOutdated(FiguresUnavailable):
    """The marts were published by another version, and lack a column."""

    title = "The published figures are of another version"


@dataclass(frozen=True, slots=True)
class Publication:
    """What serves the tenant: a snapshot of the warehouse, true for `as_of`; its last one when the newer was held."""

    snapshot_id: str
    as_of: dt.datetime
    published_at: dt.datetime
    tables: frozenset[str]
    late_reason: str | None = None
    set_aside: tuple[SetAside, ...] = ()

    @property
    def is_late(self) -> bool:
        return self.late_reason is not None


@dataclass(frozen=True, slots=True)
class Asking:
    """The moment of the question, and the age at which figures are late."""

    now: dt.datetime
    late_after: dt.timedelta


async def _asking(request: Request, now: NowDep) -> Asking:
    return Asking(now, dt.timedelta(minutes=request.app.state.settings.figures_late_minutes))


AskingDep = Annotated[Asking, Depends(_asking)]

_CURRENT = sa.text("""
    SELECT p.snapshot_id, p.as_of, p.published_at, p.table_name, n.held_because, n.snapshot_id AS held_snapshot_id,
           n.as_of AS held_as_of, n.published_at AS held_published_at, n.set_aside
    FROM marts.publications p LEFT JOIN marts.publication_notes n ON true
""")


def current(session: Session, asking: Asking) -> Publication | None:
    """The publication that serves the tenant, None before its first. From here on the transaction sees no other: it is
    held."""
    rows = session.execute(_CURRENT).all()
    if not rows:
        return None
    first, tables = rows[0], frozenset(row.table_name for row in rows)
    set_aside = tuple(SetAside(**each) for each in first.set_aside or ())
    if first.held_because is None:
        late = _overdue(first.as_of) if asking.now - first.as_of > asking.late_after else None
        return Publication(first.snapshot_id, first.as_of, first.published_at, tables, late, set_aside)
    if first.held_as_of is None:
        raise NothingPublished(f"the first figures are held back: {first.held_because}")
    late = f"these figures stay because newer ones are in doubt: {first.held_because}"
    return Publication(first.held_snapshot_id, first.held_as_of, first.held_published_at, tables, late, set_aside)


def _overdue(as_of: dt.datetime) -> str:
    moment = as_of.astimezone(dt.UTC).strftime("%Y-%m-%d %H:%M")
    return f"no refresh since {moment} UTC has come to a good end, though one is due every hour"


def required(session: Session, asking: Asking, *tables: str) -> Publication:
    """Raises: NothingPublished, also when a table is not among the published, naming it."""
    publication = current(session, asking)
    if publication is None:
        raise NothingPublished(REMEDY)
    missing = sorted(set(tables) - publication.tables)
    if missing:
        raise NothingPublished(REMEDY, missing=missing)
    return publication


def rows(session: Session, statement: sa.TextClause, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Raises: MartsOutdated."""
    try:
        return [dict(row) for row in session.execute(statement, parameters).mappings()]
    except sa.exc.ProgrammingError as error:
        if isinstance(error.orig, psycopg.errors.UndefinedColumn):
            raise MartsOutdated(REMEDY) from error
        raise
