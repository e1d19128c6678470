"""Segments: who belongs, decided by a model's scores, by a rule over contacts, or by a list."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from serving.errors import Conflict, NotFound
from serving.kit.database import TENANT
from serving.kit.pagination import PageRequest, Pagination, paginate
from serving.models import Campaign, Segment, SegmentMember
from serving.segment import repository
from serving.segment.schemas import RuleDefinition, ScoredDefinition, StaticDefinition


class SegmentNotFound(NotFound):
    title = "There is no such segment"


class SegmentExists(Conflict):
    title = "A segment of this name exists"


class SegmentInUse(Conflict):
    title = "A campaign is aimed at this segment"


def create_scored(
    session: Session,
    name: str,
    model: str,
    min_score: float | None = None,
    top_fraction: float | None = None,
    *,
    now: dt.datetime,
    description: str | None = None,
    tiers: Sequence[str] = (),
    tier_entered_within_days: int | None = None,
) -> Segment:
    """A segment of the active contacts that `model` scores at least `min_score` (0-100), or of the best `top_fraction`
    (0-1] of those it scores, of one of `tiers` (any without) and lately in it; filled from the current scores.

    Raises: SegmentExists, pydantic's ValidationError.
    """
    definition = ScoredDefinition.model_validate(
        {
            "kind": "scored",
            "model": model,
            "min_score": min_score,
            "top_fraction": top_fraction,
            "tiers": list(tiers),
            "tier_entered_within_days": tier_entered_within_days,
        }
    )
    return create(session, name, definition, description=description, now=now)


def create(
    session: Session,
    name: str,
    definition: ScoredDefinition | RuleDefinition | StaticDefinition,
    *,
    description: str | None,
    now: dt.datetime,
) -> Segment:
    """The new segment with its members. Ids of a list that are no contacts of the tenant are left out.

    Raises: SegmentExists.
    """
    stored = definition.model_dump(mode="json", exclude={"kind", "contact_ids"})
    segment = Segment(
        tenant_id=_tenant(session), name=name, kind=definition.kind, description=description, definition=stored
    )
    session.add(segment)
    try:
        session.flush()
    except IntegrityError as error:
        raise SegmentExists from error
    if isinstance(definition, StaticDefinition):
        repository.replace_by_list(session, segment.tenant_id, segment.id, definition.contact_ids, now)
        session.refresh(segment)
        return segment
    return refresh(session, segment.id, now)


def refresh_every_scored(session: Session, now: dt.datetime) -> list[Segment]:
    """The tenant's scored segments by id, each chosen anew from the current scores."""
    found = session.scalars(sa.select(Segment).where(Segment.kind == "scored").order_by(Segment.id).with_for_update())
    return [refresh(session, segment.id, now) for segment in found.all()]


def refresh(session: Session, segment_id: uuid.UUID, now: dt.datetime) -> Segment:
    """The segment with its members chosen anew; a list stays as it is. Raises: SegmentNotFound."""
    # Two refreshes of one segment at once would each remove what the other adds.
    segment = session.scalar(sa.select(Segment).where(Segment.id == segment_id).with_for_update())
    if segment is None:
        raise SegmentNotFound
    if segment.kind == "scored":
        repository.replace_scored(session, segment.tenant_id, segment.id, segment.definition, now)
    elif segment.kind == "rule":
        repository.replace_by_rule(session, segment.tenant_id, segment.id, segment.definition, now)
    session.refresh(segment)
    return segment


def get(session: Session, segment_id: uuid.UUID) -> Segment:
    """Raises: SegmentNotFound."""
    segment = session.scalar(sa.select(Segment).where(Segment.id == segment_id))
    if segment is None:
        raise SegmentNotFound
    return segment


def find(session: Session, name: str) -> Segment | None:
    """The tenant's segment of this name, None when there is none."""
    return session.scalar(sa.select(Segment).where(Segment.name == name))


def listed(session: Session, request: PageRequest) -> tuple[list[Segment], Pagination]:
    sortable = {"name": Segment.name, "created_at": Segment.created_at, "member_count": Segment.member_count}
    return paginate(
        session, sa.select(Segment), request, sortable=sortable, default_sort="-created_at", tie_break=Segment.id
    )


def members(session: Session, segment_id: uuid.UUID, request: PageRequest) -> tuple[list[SegmentMember], Pagination]:
    """Raises: SegmentNotFound."""
    get(session, segment_id)
    return paginate(
        session,
        sa.select(SegmentMember).where(SegmentMember.segment_id == segment_id),
        request,
        sortable={"score": SegmentMember.score, "contact_id": SegmentMember.contact_id},
        default_sort="-score",
        tie_break=SegmentMember.contact_id,
    )


def delete(session: Session, segment_id: uuid.UUID) -> None:
    """Raises: SegmentNotFound, SegmentInUse."""
    get(session, segment_id)
    if session.scalar(sa.select(sa.exists().where(Campaign.segment_id == segment_id))):
        raise SegmentInUse
    session.execute(sa.delete(Segment).where(Segment.id == segment_id))


def _tenant(session: Session) -> uuid.UUID:
    tenant_id = session.info[TENANT]
    assert isinstance(tenant_id, uuid.UUID)  # noqa: S101 - a session of no tenant could not write a segment
    return tenant_id
