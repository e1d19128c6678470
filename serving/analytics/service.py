"""What is true now, from the operational tables, each figure from one set-based statement."""

from __future__ import annotations

import datetime as dt
import zoneinfo
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from serving.analytics import published
from serving.analytics.published import Asking
from serving.analytics.ranges import tenant_timezone
from serving.analytics.schemas import (
    ApiUsageRead,
    CampaignsRead,
    DashboardRead,
    HotLeadRead,
    HotLeadsRead,
    MessagesRead,
    PublishedRead,
    RevenueRead,
)

HOT_SCORE = 80.0
ACTIVE = dt.timedelta(hours=24)

_COUNTS = sa.text("""
    SELECT
        (SELECT count(*) FROM conversations WHERE status = 'open' AND last_message_at > :active_since) AS conversations,
        m.inbound, m.outbound, c.*,
        (SELECT count(*) FROM scores WHERE model = 'lead_scoring' AND score > :hot) AS hot_leads
    FROM (SELECT count(*) FILTER (WHERE direction = 'inbound') AS inbound,
                 count(*) FILTER (WHERE direction = 'outbound') AS outbound
          FROM messages WHERE timestamp >= :today AND timestamp <= :now) AS m,
         (SELECT count(*) AS total, count(*) FILTER (WHERE status = 'running') AS running,
                 count(*) FILTER (WHERE status = 'scheduled') AS scheduled,
                 count(*) FILTER (WHERE status = 'paused') AS paused FROM campaigns) AS c
""")
_ORDERS = sa.text("""
    SELECT currency, count(*) AS orders, sum(total_cents)::bigint AS cents,
           count(*) FILTER (WHERE ordered_at >= :today) AS orders_today,
           coalesce(sum(total_cents) FILTER (WHERE ordered_at >= :today), 0)::bigint AS cents_today
    FROM orders WHERE ordered_at >= least(:since, :today) AND ordered_at <= :now AND status <> 'cancelled'
    GROUP BY currency ORDER BY currency
""")
# Days of usage are UTC dates.
_API_USAGE = sa.text("""
    SELECT coalesce(sum(api_calls) FILTER (WHERE date = CAST(:today AS date)), 0)::bigint AS today,
           coalesce(sum(api_calls), 0)::bigint AS days
    FROM usage_records WHERE date > CAST(:today AS date) - 30 AND date <= CAST(:today AS date)
""")
_HOT_LEADS = sa.text("""
    SELECT s.contact_id, c.name, c.phone, s.score, s.probability, s.tier, s.reasons, s.model_version, s.scored_at,
           coalesce(a.status, 'none') AS marketing_consent
    FROM (SELECT * FROM scores WHERE model = 'lead_scoring' AND score > :hot
          ORDER BY score DESC, probability DESC, contact_id LIMIT :limit) AS s
    JOIN contacts c ON c.id = s.contact_id
    LEFT JOIN consents a ON a.contact_id = s.contact_id AND a.purpose = 'marketing'
    ORDER BY s.score DESC, s.probability DESC, s.contact_id
""")
_FACTS = sa.text("""
    SELECT contact_id, last_inbound_at::timestamptz AS last_inbound_at, last_order_at::timestamptz AS last_order_at,
           orders_90d::bigint AS orders_90d, revenue_90d_cents::bigint AS revenue_90d_cents
    FROM marts.mart_hot_leads WHERE contact_id = ANY(:contacts)
""")
# Of leads that the mart does not know yet, since it was built before they were hot.
_LIVE_FACTS = sa.text("""
    SELECT c.id AS contact_id, o.*,
           (SELECT max(timestamp) FROM messages WHERE contact_id = c.id AND direction = 'inbound') AS last_inbound_at
    FROM contacts c, LATERAL (
        SELECT max(ordered_at) AS last_order_at, count(*) FILTER (WHERE ordered_at > :since) AS orders_90d,
               coalesce(sum(total_cents) FILTER (WHERE ordered_at > :since), 0)::bigint AS revenue_90d_cents
        FROM orders WHERE contact_id = c.id AND ordered_at <= :now AND status <> 'cancelled'
    ) AS o
    WHERE c.id = ANY(:contacts)
""")
HOT_LEADS = "mart_hot_leads"
HOT_LEAD_COLUMNS = (
    "contact_id", "name", "phone", "score", "probability", "tier", "model_version", "scored_at", "marketing_consent",
)  # fmt: skip


def dashboard(session: Session, asking: Asking) -> DashboardRead:
    """An active conversation is an open one with a message in the last 24 hours; a hot lead scores above 80."""
    now = asking.now
    timezone = tenant_timezone(session)
    today = day_began_at(now, timezone)
    counts = session.execute(
        _COUNTS, {"active_since": now - ACTIVE, "today": today, "now": now, "hot": HOT_SCORE}
    ).one()
    since = now - dt.timedelta(days=30)
    orders = session.execute(_ORDERS, {"since": since, "today": today, "now": now}).all()
    calls = session.execute(_API_USAGE, {"today": now.astimezone(dt.UTC).date()}).one()
    return DashboardRead(
        as_of=now,
        timezone=timezone,
        today_began_at=today,
        active_conversations=counts.conversations,
        messages_today=MessagesRead(inbound=counts.inbound, outbound=counts.outbound),
        campaigns=CampaignsRead(
            total=counts.total, running=counts.running, scheduled=counts.scheduled, paused=counts.paused
        ),
        hot_leads=counts.hot_leads,
        today=RevenueRead(
            orders=sum(row.orders_today for row in orders),
            revenue_cents={row.currency: row.cents_today for row in orders if row.orders_today},
        ),
        last_30_days=RevenueRead(
            orders=sum(row.orders for row in orders), revenue_cents={row.currency: row.cents for row in orders}
        ),
        api_usage=ApiUsageRead(calls_today=calls.today, calls_last_30_days=calls.days),
        published=_published(_shown(session, asking)),
    )


def hot_leads(session: Session, limit: int, asking: Asking) -> HotLeadsRead:
    """The best `limit` of the leads that score above 80, with facts of the mart, or live ones of leads that it does not
    know yet. Raises: MartsOutdated."""
    total = session.scalar(
        sa.text("SELECT count(*) FROM scores WHERE model = 'lead_scoring' AND score > :hot"), {"hot": HOT_SCORE}
    )
    rows = session.execute(_HOT_LEADS, {"hot": HOT_SCORE, "limit": limit}).mappings().all()
    publication = _shown(session, asking)
    facts: dict[Any, dict[str, Any]] = {}
    if publication is not None and HOT_LEADS in publication.tables:
        contacts = [row["contact_id"] for row in rows]
        facts = {row["contact_id"]: dict(row) for row in published.rows(session, _FACTS, {"contacts": contacts})}
    # A null would read as if there were no order, beside a reason that counts the days since.
    unknown = [row["contact_id"] for row in rows if row["contact_id"] not in facts]
    if unknown:
        asked = {"contacts": unknown, "since": asking.now - dt.timedelta(days=90), "now": asking.now}
        facts |= {row["contact_id"]: dict(row) for row in session.execute(_LIVE_FACTS, asked).mappings()}
    leads = [HotLeadRead.model_validate(dict(row) | facts.get(row["contact_id"], {})) for row in rows]
    return HotLeadsRead(
        as_of=asking.now, threshold=HOT_SCORE, total=total or 0, leads=leads, published=_published(publication)
    )


def all_hot_leads(session: Session) -> Iterator[dict[str, Any]]:
    """Every hot lead, the best first, as HOT_LEAD_COLUMNS. A phone is digits only, which no spreadsheet calculates."""
    found = session.execute(_HOT_LEADS, {"hot": HOT_SCORE, "limit": None}, execution_options={"yield_per": 1_000})
    for row in found.mappings():
        yield {name: row[name] for name in HOT_LEAD_COLUMNS} | {"phone": (row["phone"] or "").removeprefix("+")}


def _shown(session: Session, asking: Asking) -> published.Publication | None:
    """None as well while the tenant's first is held back: what is of now is shown all the same."""
    try:
        return published.current(session, asking)
    except published.NothingPublished:
        return None


def _published(publication: published.Publication | None) -> PublishedRead | None:
    return PublishedRead.model_validate(publication) if publication else None


def day_began_at(now: dt.datetime, timezone: str) -> dt.datetime:
    """The last local midnight, in UTC; where the clocks skip midnight, the moment they skip it."""
    zone = zoneinfo.ZoneInfo(timezone)
    local = now.astimezone(zone)
    return local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0).astimezone(dt.UTC)
