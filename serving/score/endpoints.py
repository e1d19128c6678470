from __future__ import annotations

import uuid
from typing import Any

from fastapi import APIRouter
from pydantic import AwareDatetime

from serving.auth.dependencies import PredictionsRead, SessionDep
from serving.auth.route import Route
from serving.contact.service import ContactNotFound
from serving.errors import problems
from serving.kit.pagination import Page, PageRequestDep
from serving.models import Score, ScoreHistory
from serving.score import service
from serving.score.schemas import CurrentScore, Model, PublishedScore, ScoreInterval

router = APIRouter(prefix="/contacts/{id}/scores", tags=["scores"], route_class=Route)


@router.get("", responses=problems(ContactNotFound))
def current(id: uuid.UUID, _caller: PredictionsRead, session: SessionDep) -> list[CurrentScore]:
    """What each model says of the contact since the last scoring, with its interval, tier and reasons."""
    found = service.current(session, id)
    return [CurrentScore.model_validate(_told(score) | {"tier_since": score.tier_since}) for score in found]


@router.get("/history", responses=problems(ContactNotFound))
def history(
    id: uuid.UUID,
    _caller: PredictionsRead,
    session: SessionDep,
    page: PageRequestDep,
    model: Model | None = None,
    since: AwareDatetime | None = None,
    until: AwareDatetime | None = None,
) -> Page[PublishedScore]:
    """What models said of the contact before, newest first: each score of the last five weeks; of the two years before
    them the first of a month and each that changed tier or model version."""
    found, pagination = service.history(session, id, page, model=model, since=since, until=until)
    return Page(items=[PublishedScore.model_validate(_told(score)) for score in found], pagination=pagination)


def _told(score: Score | ScoreHistory) -> dict[str, Any]:
    told = {name: getattr(score, name) for name in PublishedScore.model_fields if name != "interval"}
    low, high, level = score.probability_low, score.probability_high, score.interval_level
    known = low is not None and high is not None and level is not None
    return told | {"interval": ScoreInterval(low=low, high=high, level=level) if known else None}
