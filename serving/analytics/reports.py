"""One document about a day, a week, a month or any range, with the period before beside it."""

from __future__ import annotations

import calendar
import datetime as dt
from typing import Literal

from sqlalchemy.orm import Session

from serving.analytics import figures, published
from serving.analytics.live import live_campaigns
from serving.analytics.published import Asking
from serving.analytics.ranges import DateRange, RequestedRange, local_today, resolve, tenant_timezone
from serving.analytics.schemas import CampaignFigures, PublishedRead, RangeRead, ReportPeriod, ReportRead
from serving.errors import Unprocessable

Period = Literal["daily", "weekly", "monthly", "custom"]
TOP_CAMPAIGNS = 10
ALL = (figures.VOLUME, figures.ENGAGEMENT, figures.CAMPAIGNS, figures.EXPERIMENTS, figures.REVENUE, figures.USAGE)


def report(
    session: Session, period: Period, day: dt.date | None, requested: RequestedRange, asking: Asking
) -> ReportRead:
    """`day` chooses the day, the week (from Monday) or the month it lies in; unless told, the last one that is over.

    Raises: NothingPublished, MartsOutdated, Unprocessable for a range with a named period, or a day with a custom one.
    """
    publication = published.required(session, asking, *ALL)
    current, previous = _ranges(session, period, day, requested, asking.now)
    live = live_campaigns(session, current, asking.now)
    now_read = _period(session, current, live)
    before_read = _period(session, previous, live_campaigns(session, previous, asking.now))
    return ReportRead(
        **dict(PublishedRead.model_validate(publication)),
        period=period,
        current=now_read,
        previous=before_read,
        changes=changes(now_read, before_read),
        top_campaigns=figures.campaigns(session, current, publication.as_of, live, limit=TOP_CAMPAIGNS),
    )


def changes(current: ReportPeriod, previous: ReportPeriod) -> dict[str, float | None]:
    """(current - previous) / previous by figure; null when there was nothing before."""
    pairs: dict[str, tuple[float | None, float | None]] = {
        f"messages.{name}": (getattr(current.messages, name), getattr(previous.messages, name))
        for name in ("sent", "delivered", "read", "replied", "received", "delivery_rate", "read_rate", "response_rate")
    }
    pairs["campaigns.converted"] = (current.campaigns.converted, previous.campaigns.converted)
    pairs["engagement.engagement_score"] = (
        current.engagement.engagement_score, previous.engagement.engagement_score,
    )  # fmt: skip
    cents = {each.currency: each.revenue_cents for each in previous.revenue}
    for each in current.revenue:
        pairs[f"revenue.{each.currency}.revenue_cents"] = (each.revenue_cents, cents.get(each.currency))
    return {
        name: (now - before) / before if before and now is not None else None for name, (now, before) in pairs.items()
    }


def _period(session: Session, asked: DateRange, live: list[CampaignFigures]) -> ReportPeriod:
    return ReportPeriod(
        range=RangeRead(first=asked.first, last=asked.last, timezone=asked.timezone),
        messages=figures.messages(session, asked),
        engagement=figures.engagement(session, asked),
        campaigns=figures.campaign_totals(session, asked, live),
        revenue=figures.revenue(session, asked),
        usage=figures.usage(session, asked),
    )


def _ranges(
    session: Session, period: Period, day: dt.date | None, requested: RequestedRange, now: dt.datetime
) -> tuple[DateRange, DateRange]:
    if period == "custom":
        if day is not None:
            raise _refused("date", "a custom period is given by `from` and `to`")
        current = resolve(session, requested, now)
        return current, current.previous
    for field, value in (("from", requested.first), ("to", requested.last)):
        if value is not None:
            raise _refused(field, "only a custom period has it; choose by `date`")
    timezone = tenant_timezone(session)
    today = local_today(now, timezone)
    if period == "daily":
        first = last = day or today - dt.timedelta(days=1)
    elif period == "weekly":
        within = day or today - dt.timedelta(days=7)
        first = within - dt.timedelta(days=within.weekday())
        last = first + dt.timedelta(days=6)
    else:
        first, last = _month(day or today.replace(day=1) - dt.timedelta(days=1))
        before = _month(first - dt.timedelta(days=1))
        return DateRange(first, last, timezone), DateRange(*before, timezone)
    current = DateRange(first, last, timezone)
    return current, current.previous


def _month(day: dt.date) -> tuple[dt.date, dt.date]:
    return day.replace(day=1), day.replace(day=calendar.monthrange(day.year, day.month)[1])


def _refused(field: str, message: str) -> Unprocessable:
    return Unprocessable(errors=[{"field": field, "message": message, "code": "not_with_this_period"}])
