from __future__ import annotations

import uuid
from typing import Annotated

import sqlalchemy as sa
from fastapi import APIRouter, BackgroundTasks, Depends, Query, Request, Response
from sqlalchemy.orm import Session

from serving.auth.dependencies import CampaignsRead, CampaignsWrite, SessionDep
from serving.auth.route import Route
from serving.campaign import service
from serving.campaign.content import CampaignNotSendable, ProviderUnavailable
from serving.campaign.plan import CampaignHasNoNumber, CampaignHasNoSegment, CampaignReachesNobody
from serving.campaign.schemas import (
    CampaignCreate,
    CampaignDuplicate,
    CampaignPlanRead,
    CampaignRead,
    CampaignSchedule,
    CampaignStarted,
    CampaignStats,
    CampaignStatus,
    CampaignType,
    CampaignUpdate,
    TemplateRead,
)
from serving.campaign.service import CampaignHasHistory, CampaignNotFound, CampaignStateRefused
from serving.campaign.start import start as start_campaign
from serving.campaign.stats import campaign_stats, used_templates
from serving.errors import problems
from serving.kit.clock import NowDep, utc_now
from serving.kit.dependencies import SettingsDep
from serving.kit.pagination import Page, PageRequest, PageRequestDep, paginate
from serving.models import Campaign
from serving.sending.drivers import Drivers


async def _drivers(request: Request) -> Drivers:
    return request.app.state.drivers  # type: ignore[no-any-return]


DriversDep = Annotated[Drivers, Depends(_drivers)]
DryRun = Annotated[bool, Query(description="Say who would be sent to and who left out, and change nothing")]
router = APIRouter(prefix="/campaigns", tags=["campaigns"], route_class=Route)
MOVE_PROBLEMS = problems(CampaignNotFound, CampaignStateRefused)
SEND_PROBLEMS = problems(
    CampaignNotFound, CampaignStateRefused, CampaignHasNoNumber, CampaignHasNoSegment, CampaignNotSendable,
    ProviderUnavailable,
)  # fmt: skip
SORTABLE = {
    "created_at": Campaign.created_at, "name": Campaign.name, "status": Campaign.status,
    "start_date": Campaign.start_date,
}  # fmt: skip


@router.post("/", status_code=201, response_model=CampaignRead)
def create(body: CampaignCreate, subject: CampaignsWrite, session: SessionDep, now: NowDep) -> Campaign:
    return service.create(session, body, created_by=subject.user_id, now=now)


@router.get("/")
def list_campaigns(subject: CampaignsRead, session: SessionDep, request: PageRequestDep) -> Page[CampaignRead]:
    return _page(session, sa.select(Campaign), request)


@router.get("/filter")
def filter_campaigns(
    subject: CampaignsRead,
    session: SessionDep,
    request: PageRequestDep,
    status: CampaignStatus | None = None,
    type: CampaignType | None = None,
    segment_id: uuid.UUID | None = None,
    name: Annotated[str | None, Query(max_length=200, description="Part of the name")] = None,
) -> Page[CampaignRead]:
    statement = sa.select(Campaign)
    for column, value in ((Campaign.status, status), (Campaign.type, type), (Campaign.segment_id, segment_id)):
        if value is not None:
            statement = statement.where(column == value)
    if name:
        statement = statement.where(Campaign.name.icontains(name, autoescape=True))
    return _page(session, statement, request)


@router.get("/templates")
def templates(subject: CampaignsRead, session: SessionDep) -> list[TemplateRead]:
    return used_templates(session)


@router.post("/duplicate", status_code=201, response_model=CampaignRead, responses=problems(CampaignNotFound))
def duplicate(body: CampaignDuplicate, subject: CampaignsWrite, session: SessionDep, now: NowDep) -> Campaign:
    return service.duplicate(session, body.campaign_id, body.name, created_by=subject.user_id, now=now)


@router.get("/{id}", response_model=CampaignRead, responses=problems(CampaignNotFound))
def get(id: uuid.UUID, subject: CampaignsRead, session: SessionDep) -> Campaign:
    return service.get(session, id)


@router.put("/{id}", response_model=CampaignRead, responses=SEND_PROBLEMS)
def update(
    id: uuid.UUID, body: CampaignUpdate, subject: CampaignsWrite, session: SessionDep, now: NowDep, drivers: DriversDep
) -> Campaign:
    """A draft or scheduled campaign may change altogether: who it goes to is decided when it starts. A paused one may
    change what it says: messages still queued are written anew. A running one keeps it."""
    return service.update(session, id, body, now, drivers.templates)


@router.delete("/{id}", status_code=204, responses=problems(CampaignNotFound, CampaignHasHistory))
def delete(id: uuid.UUID, subject: CampaignsWrite, session: SessionDep) -> Response:
    service.delete(session, id)
    return Response(status_code=204)


@router.post(
    "/{id}/start",
    responses=problems(
        CampaignNotFound, CampaignStateRefused, CampaignHasNoSegment, CampaignHasNoNumber, CampaignNotSendable,
        CampaignReachesNobody, ProviderUnavailable,
    ),
)  # fmt: skip
def start(
    id: uuid.UUID, subject: CampaignsWrite, session: SessionDep, now: NowDep, settings: SettingsDep,
    drivers: DriversDep, request: Request, background: BackgroundTasks,
    dry_run: DryRun = False,
) -> CampaignStarted:  # fmt: skip
    """Decides for everybody of the segment, queues the messages and wakes the workers."""
    campaign, plan = start_campaign(session, id, now, drivers.templates, configured=settings, dry_run=dry_run)
    if not dry_run:
        background.add_task(_wake, request, subject.tenant_id)
    return CampaignStarted(
        dry_run=dry_run,
        campaign=CampaignRead.model_validate(campaign),
        plan=CampaignPlanRead.model_validate(plan),
    )


@router.post("/{id}/pause", response_model=CampaignRead, responses=MOVE_PROBLEMS)
def pause(id: uuid.UUID, subject: CampaignsWrite, session: SessionDep) -> Campaign:
    """Once answered, no further send is allowed; one that was allowed before may still leave, for at most five
    seconds."""
    return service.pause(session, id)


@router.post("/{id}/resume", response_model=CampaignRead, responses=SEND_PROBLEMS)
def resume(
    id: uuid.UUID, subject: CampaignsWrite, session: SessionDep, drivers: DriversDep, request: Request,
    background: BackgroundTasks,
) -> Campaign:  # fmt: skip
    campaign = service.resume(session, id, drivers.templates)
    background.add_task(_wake, request, subject.tenant_id)
    return campaign


@router.post("/{id}/stop", response_model=CampaignRead, responses=MOVE_PROBLEMS)
def stop(id: uuid.UUID, subject: CampaignsWrite, session: SessionDep, now: NowDep) -> Campaign:
    """Ends the campaign for good; what was queued is suppressed."""
    return service.stop(session, id, now)


@router.post("/{id}/schedule", response_model=CampaignRead, responses=SEND_PROBLEMS)
def schedule(
    id: uuid.UUID, body: CampaignSchedule, subject: CampaignsWrite, session: SessionDep, now: NowDep,
    drivers: DriversDep,
) -> Campaign:  # fmt: skip
    """Starts the campaign at `start_date`; who it goes to is decided then."""
    return service.schedule(session, id, body, now, drivers.templates)


@router.get("/{id}/stats", responses=problems(CampaignNotFound))
def stats(id: uuid.UUID, subject: CampaignsRead, session: SessionDep) -> CampaignStats:
    return campaign_stats(session, service.get(session, id))


def _page(session: Session, statement: sa.Select[Campaign], request: PageRequest) -> Page[CampaignRead]:
    items, pagination = paginate(
        session, statement, request, sortable=SORTABLE, default_sort="-created_at", tie_break=Campaign.id
    )
    return Page[CampaignRead](items=[CampaignRead.model_validate(item) for item in items], pagination=pagination)


def _wake(request: Request, tenant_id: uuid.UUID) -> None:
    wake = getattr(request.app.state, "wake", None)
    if wake is not None:
        wake.dispatch([tenant_id], utc_now())
