from __future__ import annotations

import uuid
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse
from sqlalchemy.orm import Session

from serving.analytics import export as exports
from serving.analytics import figures, published, reports, service
from serving.analytics.live import CampaignUnknown, live_campaigns, require_campaign
from serving.analytics.published import Asking, AskingDep, MartsOutdated, NothingPublished
from serving.analytics.ranges import DateRange, Day, RequestedRange, RequestedRangeDep, resolve
from serving.analytics.schemas import (
    CampaignsFigures,
    DashboardRead,
    EngagementFigures,
    HotLeadsRead,
    HourlyFigures,
    HourOfDay,
    HourVolume,
    MessagesFigures,
    PublishedRead,
    RangeRead,
    ReportRead,
)
from serving.auth.dependencies import AnalyticsRead, SessionDep
from serving.auth.route import Route
from serving.errors import Unprocessable, problems

router = APIRouter(prefix="/analytics", tags=["analytics"], route_class=Route)
FIGURES_PROBLEMS = problems(NothingPublished, MartsOutdated, Unprocessable)
CampaignId = Annotated[uuid.UUID | None, Query(description="This campaign alone")]


@router.get("/dashboard")
def dashboard(_caller: AnalyticsRead, session: SessionDep, asking: AskingDep) -> DashboardRead:
    """What happens now and happened today, on the tenant's clock."""
    return service.dashboard(session, asking)


@router.get("/campaigns", responses=FIGURES_PROBLEMS | problems(CampaignUnknown))
def campaigns(
    _caller: AnalyticsRead,
    session: SessionDep,
    asking: AskingDep,
    requested: RequestedRangeDep,
    campaign_id: CampaignId = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
) -> CampaignsFigures:
    """What became of the campaigns that sent between two days, each over its whole life, with its holdout's verdict; of
    those that began since the last refresh, by live counts."""
    require_campaign(session, campaign_id)
    asked, envelope = _asked(session, requested, asking, figures.CAMPAIGNS, figures.EXPERIMENTS)
    live = live_campaigns(session, asked, asking.now, campaign_id)
    found = figures.campaigns(session, asked, envelope["as_of"], live, campaign_id, limit=limit)
    totals = figures.campaign_totals(session, asked, live, campaign_id)
    return CampaignsFigures(**envelope, totals=totals, campaigns=found)


@router.get("/messages", responses=FIGURES_PROBLEMS)
def messages(
    _caller: AnalyticsRead, session: SessionDep, asking: AskingDep, requested: RequestedRangeDep
) -> MessagesFigures:
    """Messages sent, delivered, read, answered and received, by day."""
    asked, envelope = _asked(session, requested, asking, figures.VOLUME)
    by_day = figures.days(session, asked)
    peak = _peak(_by_hour_of_day(figures.hours(session, asked)))
    return MessagesFigures(**envelope, totals=figures.message_totals(by_day), by_day=by_day, peak_hour=peak)


@router.get("/engagement", responses=FIGURES_PROBLEMS)
def engagement(
    _caller: AnalyticsRead, session: SessionDep, asking: AskingDep, requested: RequestedRangeDep
) -> EngagementFigures:
    """How people answer: how fast, at what length, in what conversations, with a score for the whole."""
    asked, envelope = _asked(session, requested, asking, figures.ENGAGEMENT)
    return EngagementFigures(
        **envelope, totals=figures.engagement(session, asked), by_day=figures.engagement_days(session, asked)
    )


@router.get("/hot-leads", responses=problems(MartsOutdated))
def hot_leads(
    _caller: AnalyticsRead, session: SessionDep, asking: AskingDep, limit: Annotated[int, Query(ge=1, le=500)] = 50
) -> HotLeadsRead:
    """The best leads above the threshold, with why they score high, what they consented to and what they did."""
    return service.hot_leads(session, limit, asking)


@router.get("/hourly-stats", responses=FIGURES_PROBLEMS)
def hourly_stats(
    _caller: AnalyticsRead, session: SessionDep, asking: AskingDep, requested: RequestedRangeDep
) -> HourlyFigures:
    """Messages by hour, and by hour of the tenant's day."""
    asked, envelope = _asked(session, requested, asking, figures.VOLUME)
    hours = figures.hours(session, asked)
    by_hour = _by_hour_of_day(hours)
    return HourlyFigures(**envelope, hours=hours, by_hour_of_day=by_hour, peak_hour=_peak(by_hour))


@router.get(
    "/export",
    response_class=StreamingResponse,
    responses=FIGURES_PROBLEMS
    | problems(CampaignUnknown)
    | {200: {"content": {"text/csv": {}}, "description": "UTF-8, a header line, times in UTC, money in cents"}},
)
def export(
    _caller: AnalyticsRead,
    session: SessionDep,
    asking: AskingDep,
    requested: RequestedRangeDep,
    report: Annotated[exports.Report, Query(description="Which figures; hot-leads are of now, whatever the range")],
    campaign_id: Annotated[uuid.UUID | None, Query(description="Of `campaigns`, this one alone")] = None,
) -> StreamingResponse:
    """A report as a CSV file. The headers X-Snapshot-Id, X-As-Of and X-Published-At tell what it is of, X-Is-Late and
    X-Late-Reason whether that is old."""
    asked = resolve(session, requested, asking.now)
    file, publication = exports.export(session, report, asked, campaign_id, asking)
    headers = {
        "Content-Disposition": f'attachment; filename="{exports.filename(report, asked)}"',
        "X-Snapshot-Id": publication.snapshot_id,
        "X-As-Of": publication.as_of.isoformat(),
        "X-Published-At": publication.published_at.isoformat(),
        "X-Is-Late": str(publication.is_late).lower(),
    }
    if publication.late_reason is not None:
        headers["X-Late-Reason"] = publication.late_reason.encode("ascii", "replace").decode()
    return StreamingResponse(exports.chunks(file), media_type="text/csv; charset=utf-8", headers=headers)


@router.get("/reports", responses=FIGURES_PROBLEMS)
def report(
    _caller: AnalyticsRead,
    session: SessionDep,
    asking: AskingDep,
    requested: RequestedRangeDep,
    period: Annotated[
        reports.Period, Query(description="custom is given by `from` and `to`, the others by `date`")
    ] = "daily",
    date: Annotated[
        Day | None, Query(description="A day of the period; unless told, of the last one that is over")
    ] = None,
) -> ReportRead:
    """All figures of a day, a week, a month or a range, with the period before beside them."""
    return reports.report(session, period, date, requested, asking)


def _asked(
    session: Session, requested: RequestedRange, asking: Asking, *tables: str
) -> tuple[DateRange, dict[str, Any]]:
    """The range, and what every answer about one begins with."""
    asked = resolve(session, requested, asking.now)
    publication = PublishedRead.model_validate(published.required(session, asking, *tables))
    days = RangeRead(first=asked.first, last=asked.last, timezone=asked.timezone)
    return asked, dict(publication) | {"range": days}


def _by_hour_of_day(hours: list[HourVolume]) -> list[HourOfDay]:
    sent, received = [0] * 24, [0] * 24
    for each in hours:
        sent[each.hour] += each.sent
        received[each.hour] += each.received
    return [HourOfDay(hour=hour, sent=sent[hour], received=received[hour]) for hour in range(24)]


def _peak(by_hour: list[HourOfDay]) -> int | None:
    """The earliest of the busiest hours; None when nothing happened."""
    busiest = max(by_hour, key=lambda each: each.sent + each.received)
    return busiest.hour if busiest.sent + busiest.received else None
