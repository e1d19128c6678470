"""What models say of a contact, now and before."""

from __future__ import annotations

import datetime as dt
import uuid

import sqlalchemy as sa
from sqlalchemy.orm import Session

from serving.contact import service as contact_service
from serving.kit.pagination import PageRequest, Pagination, paginate
from serving.models import Score, ScoreHistory


def current(session: Session, contact_id: uuid.UUID) -> list[Score]:
    """The contact's scores, one a model that scored it, by the model's name. Raises: ContactNotFound."""
    contact_service.get(session, contact_id)
    return list(session.scalars(sa.select(Score).where(Score.contact_id == contact_id).order_by(Score.model)))


def history(
    session: Session,
    contact_id: uuid.UUID,
    request: PageRequest,
    *,
    model: str | None = None,
    since: dt.datetime | None = None,
    until: dt.datetime | None = None,
) -> tuple[list[ScoreHistory], Pagination]:
    """The contact's published scores, newest first, of `since` <= scored_at < `until`. Raises: ContactNotFound."""
    contact_service.get(session, contact_id)
    wanted = sa.select(ScoreHistory).where(ScoreHistory.contact_id == contact_id)
    if model is not None:
        wanted = wanted.where(ScoreHistory.model == model)
    if since is not None:
        wanted = wanted.where(ScoreHistory.scored_at >= since)
    if until is not None:
        wanted = wanted.where(ScoreHistory.scored_at < until)
    return paginate(
        session,
        wanted,
        request,
        sortable={"scored_at": ScoreHistory.scored_at, "score": ScoreHistory.score, "model": ScoreHistory.model},
        default_sort="-scored_at",
        tie_break=ScoreHistory.id,
    )
