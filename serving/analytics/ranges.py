"""The days a question is about: local dates of the tenant, both included."""

from __future__ import annotations

import datetime as dt
import zoneinfo
from dataclasses import dataclass
from typing import Annotated

import sqlalchemy as sa
from fastapi import Depends, Query
from pydantic import Field
from sqlalchemy.orm import Session

from serving.errors import Unprocessable

DEFAULT_DAYS = 30
MAX_DAYS = 366
# Far from the ends of the calendar: weeks, months and time zones reach beyond the day that is asked for.
FIRST_DAY, LAST_DAY = dt.date(1900, 1, 1), dt.date(2999, 12, 31)
Day = Annotated[dt.date, Field(ge=FIRST_DAY, le=LAST_DAY)]


@dataclass(frozen=True, slots=True)
class DateRange:
    """`first` to `last`, both included, in `timezone`."""

    first: dt.date
    last: dt.date
    timezone: str

    @property
    def days(self) -> int:
        return (self.last - self.first).days + 1

    @property
    def previous(self) -> DateRange:
        """As many days, directly before."""
        length = dt.timedelta(days=self.days)
        return DateRange(self.first - length, self.last - length, self.timezone)


@dataclass(frozen=True, slots=True)
class RequestedRange:
    first: dt.date | None
    last: dt.date | None


async def _requested(
    first: Annotated[
        Day | None, Query(alias="from", description="First day, in the tenant's time zone; 29 days before `to`")
    ] = None,
    last: Annotated[
        Day | None, Query(alias="to", description="Last day, included; today in the tenant's time zone")
    ] = None,
) -> RequestedRange:
    return RequestedRange(first, last)


RequestedRangeDep = Annotated[RequestedRange, Depends(_requested)]


def tenant_timezone(session: Session) -> str:
    return session.scalar(sa.text("SELECT timezone FROM tenants")) or "UTC"


def local_today(now: dt.datetime, timezone: str) -> dt.date:
    return now.astimezone(zoneinfo.ZoneInfo(timezone)).date()


def resolve(session: Session, requested: RequestedRange, now: dt.datetime) -> DateRange:
    """The days asked for, the last 30 unless told. Raises: Unprocessable naming `to`, `from` or both."""
    timezone = tenant_timezone(session)
    last = requested.last or local_today(now, timezone)
    first = requested.first or last - dt.timedelta(days=DEFAULT_DAYS - 1)
    if last < first:
        raise _refused("to" if requested.last else "from", "`to` lies before `from`", "to_before_from")
    if (last - first).days + 1 > MAX_DAYS:
        raise _refused("from", f"at most {MAX_DAYS} days at once", "too_many_days")
    return DateRange(first, last, timezone)


def _refused(field: str, message: str, code: str) -> Unprocessable:
    return Unprocessable(errors=[{"field": field, "message": message, "code": code}])
