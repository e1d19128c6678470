"""Figures over the operational tables, each from one set-based statement."""

from __future__ import annotations

import datetime as dt
import zoneinfo

import sqlalchemy as sa
from sqlalchemy.orm import Session

from serving.analytics.schemas import (
    CampaignsRead,
    DashboardRead,
    HotLeadRead,
    HotLeadsRead,
    MessagesRead,
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
_HOT_LEADS = sa.text("""
    SELECT s.contact_id, c.name, c.phone, s.score, s.probability, s.tier, s.reasons, s.model_version, s.scored_at,
           coalesce(a.status, 'none') AS marketing_consent
    FROM (SELECT * FROM scores WHERE model = 'lead_scoring' AND score > :hot
          ORDER BY score DESC, probability DESC, contact_id LIMIT :limit) AS s
    JOIN contacts c ON c.id = s.contact_id
    LEFT JOIN consents a ON a.contact_id = s.contact_id AND a.purpose = 'marketing'
    ORDER BY s.score DESC, s.probability DESC, s.contact_id
""")


def dashboard(session: Session, now: dt.datetime) -> DashboardRead:
    """An active conversation is an open one with a message in the last 24 hours; a hot lead scores above 80."""
    timezone = session.scalar(sa.text("SELECT timezone FROM tenants")) or "UTC"
    today = day_began_at(now, timezone)
    counts = session.execute(
        _COUNTS, {"active_since": now - ACTIVE, "today": today, "now": now, "hot": HOT_SCORE}
    ).one()
    since = now - dt.timedelta(days=30)
    orders = session.execute(_ORDERS, {"since": since, "today": today, "now": now}).all()
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
    )


def hot_leads(session: Session, limit: int) -> HotLeadsRead:
    """The best `limit` of the leads that score above 80."""
    total = session.scalar(
        sa.text("SELECT count(*) FROM scores WHERE model = 'lead_scoring' AND score > :hot"), {"hot": HOT_SCORE}
    )
    rows = session.execute(_HOT_LEADS, {"hot": HOT_SCORE, "limit": limit}).mappings()
    return HotLeadsRead(threshold=HOT_SCORE, total=total or 0, leads=[HotLeadRead.model_validate(row) for row in rows])


def day_began_at(now: dt.datetime, timezone: str) -> dt.datetime:
    """The last local midnight, in UTC; where the clocks skip midnight, the moment they skip it."""
    zone = zoneinfo.ZoneInfo(timezone)
    local = now.astimezone(zone)
    return local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0).astimezone(dt.UTC)
