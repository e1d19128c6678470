from __future__ import annotations

import uuid

from fastapi import APIRouter, Response

from serving.auth.dependencies import SegmentsRead, SegmentsWrite, SessionDep
from serving.auth.route import Route
from serving.errors import problems
from serving.kit.clock import NowDep
from serving.kit.pagination import Page, PageRequestDep
from serving.models import Segment
from serving.segment import service
from serving.segment.schemas import MemberRead, SegmentCreate, SegmentRead
from serving.segment.service import SegmentExists, SegmentInUse, SegmentNotFound

router = APIRouter(prefix="/segments", tags=["segments"], route_class=Route)


@router.post("/", status_code=201, response_model=SegmentRead, responses=problems(SegmentExists))
def create(body: SegmentCreate, _caller: SegmentsWrite, session: SessionDep, now: NowDep) -> Segment:
    """A segment with its members as of now."""
    return service.create(session, body.name, body.definition, description=body.description, now=now)


@router.get("/")
def list_segments(_caller: SegmentsRead, session: SessionDep, page: PageRequestDep) -> Page[SegmentRead]:
    segments, pagination = service.listed(session, page)
    return Page(items=[SegmentRead.model_validate(segment) for segment in segments], pagination=pagination)


@router.get("/{id}", response_model=SegmentRead, responses=problems(SegmentNotFound))
def get(id: uuid.UUID, _caller: SegmentsRead, session: SessionDep) -> Segment:
    return service.get(session, id)


@router.delete("/{id}", status_code=204, responses=problems(SegmentNotFound, SegmentInUse))
def delete(id: uuid.UUID, _caller: SegmentsWrite, session: SessionDep) -> Response:
    service.delete(session, id)
    return Response(status_code=204)


@router.post("/{id}/refresh", response_model=SegmentRead, responses=problems(SegmentNotFound))
def refresh(id: uuid.UUID, _caller: SegmentsWrite, session: SessionDep, now: NowDep) -> Segment:
    """The segment with its members chosen anew."""
    return service.refresh(session, id, now)


@router.get("/{id}/members", responses=problems(SegmentNotFound))
def members(id: uuid.UUID, _caller: SegmentsRead, session: SessionDep, page: PageRequestDep) -> Page[MemberRead]:
    """A page of members, best score first."""
    found, pagination = service.members(session, id, page)
    return Page(items=[MemberRead.model_validate(member) for member in found], pagination=pagination)
