"""A report as a CSV file: UTF-8, a header line, no cell that a spreadsheet would take for a formula."""

from __future__ import annotations

import csv
import datetime as dt
import io
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Mapping
from typing import IO, Any, Literal

import sqlalchemy as sa
from pydantic import BaseModel
from sqlalchemy.orm import Session

from serving.analytics import figures, published, service
from serving.analytics.live import live_campaigns, require_campaign
from serving.analytics.published import Asking, Publication
from serving.analytics.ranges import DateRange
from serving.analytics.schemas import (
    CampaignFigures,
    DayMessages,
    EngagementDay,
    HourVolume,
    RevenueTotals,
    UsageTotals,
)

Report = Literal["campaigns", "messages", "engagement", "hot-leads", "hourly-stats", "revenue", "usage"]
CHUNK_BYTES = 64 * 1024
# A file up to this size never touches the disk.
SPOOLED_BYTES = 1_000_000
MAX_CAMPAIGNS = 100_000
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")

_REVENUE_DAYS = sa.text("""
    SELECT local_date AS date, currency::text AS currency, orders::bigint AS orders,
           cancelled_orders::bigint AS cancelled_orders, revenue_cents::bigint AS revenue_cents,
           attributed_orders::bigint AS attributed_orders, attributed_revenue_cents::bigint AS attributed_revenue_cents
    FROM marts.mart_revenue WHERE local_date BETWEEN :first AND :last ORDER BY local_date, currency
""")
_USAGE_DAYS = sa.text("""
    SELECT usage_date AS date, api_calls::bigint AS api_calls, messages_sent::bigint AS messages_sent
    FROM marts.mart_usage WHERE usage_date BETWEEN :first AND :last ORDER BY usage_date
""")
TABLES: Mapping[Report, tuple[str, ...]] = {
    "campaigns": (figures.CAMPAIGNS, figures.EXPERIMENTS),
    "messages": (figures.VOLUME,),
    "engagement": (figures.ENGAGEMENT,),
    "hot-leads": (),
    "hourly-stats": (figures.VOLUME,),
    "revenue": (figures.REVENUE,),
    "usage": (figures.USAGE,),
}


def export(
    session: Session, report: Report, asked: DateRange, campaign_id: uuid.UUID | None, asking: Asking
) -> tuple[IO[bytes], Publication]:
    """The file, at its beginning, and the publication it is of. It is complete before the first byte leaves, so that
    a slow reader holds no mart and an error is no half file.

    Raises: NothingPublished, MartsOutdated, CampaignUnknown.
    """
    if report == "campaigns":
        require_campaign(session, campaign_id)
    publication = published.required(session, asking, *TABLES[report])
    file = tempfile.SpooledTemporaryFile(max_size=SPOOLED_BYTES)  # noqa: SIM115 - `chunks` closes it
    try:
        _write(file, _records(session, report, asked, campaign_id, publication, asking.now))
    except BaseException:
        file.close()
        raise
    file.seek(0)
    return file, publication


def chunks(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def filename(report: Report, asked: DateRange) -> str:
    return f"{report}_{asked.first}_{asked.last}.csv"


def safe_cell(value: Any) -> Any:
    """The value as a spreadsheet shows and never runs it."""
    if isinstance(value, dt.datetime):
        return value.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, str) and value.startswith(_FORMULA):
        return "'" + value
    return value


def _records(
    session: Session,
    report: Report,
    asked: DateRange,
    campaign_id: uuid.UUID | None,
    publication: Publication,
    now: dt.datetime,
) -> tuple[list[str], Iterable[Mapping[str, Any]]]:
    bounds = {"first": asked.first, "last": asked.last}
    if report == "campaigns":
        live = live_campaigns(session, asked, now, campaign_id)
        found = figures.campaigns(session, asked, publication.as_of, live, campaign_id, limit=MAX_CAMPAIGNS)
        return _of(CampaignFigures, found)
    if report == "messages":
        return _of(DayMessages, figures.days(session, asked))
    if report == "hourly-stats":
        return _of(HourVolume, figures.hours(session, asked))
    if report == "engagement":
        return _of(EngagementDay, figures.engagement_days(session, asked))
    if report == "hot-leads":
        return list(service.HOT_LEAD_COLUMNS), service.all_hot_leads(session)
    rows = published.rows(session, _REVENUE_DAYS if report == "revenue" else _USAGE_DAYS, bounds)
    columns = RevenueTotals if report == "revenue" else UsageTotals
    return ["date", *columns.model_fields], rows


def _of(model: type[BaseModel], rows: Iterable[BaseModel]) -> tuple[list[str], Iterable[Mapping[str, Any]]]:
    names = list(model.model_fields)
    key = ["date"] if "date" in names else []
    return key + [name for name in names if name not in key], (row.model_dump() for row in rows)


def _write(file: IO[bytes], records: tuple[list[str], Iterable[Mapping[str, Any]]]) -> None:
    columns, rows = records
    text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
    writer = csv.writer(text)
    writer.writerow(columns)
    for row in rows:
        writer.writerow(safe_cell(row[column]) for column in columns)
    text.flush()
    text.detach()
