"""The published marts, read under the tenant's rights. A transaction sees one snapshot of all of them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import psycopg
import sqlalchemy as sa
from sqlalchemy.orm import Session

from serving.errors import Unavailable

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
    """What serves: a snapshot of the warehouse, true for `as_of`."""

    snapshot_id: str
    as_of: dt.datetime
    published_at: dt.datetime
    tables: frozenset[str]


def current(session: Session) -> Publication | None:
    """The publication that serves, None before the first. From here on the transaction sees no other: it is held."""
    rows = session.execute(sa.text("SELECT snapshot_id, as_of, published_at, table_name FROM marts.publications")).all()
    if not rows:
        return None
    return Publication(
        rows[0].snapshot_id, rows[0].as_of, rows[0].published_at, frozenset(row.table_name for row in rows)
    )


def required(session: Session, *tables: str) -> Publication:
    """Raises: NothingPublished, also when a table is not among the published, naming it."""
    publication = current(session)
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
