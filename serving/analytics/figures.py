"""Figures of a range of days, summed from the published marts; a rate is divided after the sum. Outbound messages count
on the day of their send, whenever they were delivered, read or answered."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from serving.analytics import published
from serving.analytics.ranges import DateRange
from serving.analytics.schemas import (
    CampaignFigures,
    CampaignTotals,
    DayMessages,
    EngagementDay,
    EngagementTotals,
    HourVolume,
    MessageTotals,
    RevenueTotals,
    UsageTotals,
)
from serving.campaign.rates import campaign_rates, message_rates, share

VOLUME, ENGAGEMENT, REVENUE = "mart_message_volume_hourly", "mart_engagement", "mart_revenue"
USAGE, CAMPAIGNS, EXPERIMENTS = "mart_usage", "mart_campaign_performance", "mart_experiment_results"

_COUNTS = ("sent", "delivered", "read", "failed", "replied", "received")
_COUNTED = ", ".join(f"coalesce(sum({name}), 0)::bigint AS {name}" for name in _COUNTS)
_IN_RANGE = "local_date BETWEEN :first AND :last"
_DAYS = sa.text(f"""
    SELECT local_date AS date, {_COUNTED} FROM marts.mart_message_volume_hourly
    WHERE {_IN_RANGE} GROUP BY local_date ORDER BY local_date
""")
_HOURS = sa.text(f"""
    SELECT hour_at, local_date AS date, local_hour::int AS hour, {_COUNTED} FROM marts.mart_message_volume_hourly
    WHERE {_IN_RANGE} GROUP BY hour_at, local_date, local_hour ORDER BY hour_at
""")
_ENGAGEMENT_SUMS = (
    "sent", "delivered", "read", "replied", "received", "active_contacts", "conversations", "response_seconds_sum",
    "reply_characters_sum", "replies_measured", "conversation_seconds_sum",
)  # fmt: skip
_ENGAGEMENT = sa.text(f"""
    SELECT local_date AS date, {", ".join(f"{name}::bigint AS {name}" for name in _ENGAGEMENT_SUMS)}
    FROM marts.mart_engagement WHERE {_IN_RANGE} ORDER BY local_date
""")
_REVENUE = sa.text(f"""
    SELECT currency::text AS currency, sum(orders)::bigint AS orders, sum(cancelled_orders)::bigint AS cancelled_orders,
           sum(revenue_cents)::bigint AS revenue_cents, sum(attributed_orders)::bigint AS attributed_orders,
           sum(attributed_revenue_cents)::bigint AS attributed_revenue_cents
    FROM marts.mart_revenue WHERE {_IN_RANGE} GROUP BY currency ORDER BY currency
""")
_USAGE = sa.text("""
    SELECT coalesce(sum(api_calls), 0)::bigint AS api_calls, coalesce(sum(messages_sent), 0)::bigint AS messages_sent
    FROM marts.mart_usage WHERE usage_date BETWEEN :first AND :last
""")
_ACTIVE = """
    (CAST(:campaign_id AS uuid) IS NULL OR c.campaign_id = :campaign_id)
    AND c.first_sent_date <= :last AND c.last_sent_date >= :first
"""
_CAMPAIGNS = sa.text(f"""
    SELECT c.campaign_id, c.name::text AS name, c.type::text AS type, c.status::text AS status,
           c.first_sent_at::timestamptz AS first_sent_at, c.last_sent_at::timestamptz AS last_sent_at,
           c.eligible::bigint AS eligible, c.held_out::bigint AS held_out, c.suppressed::bigint AS suppressed,
           c.sent::bigint AS sent, c.delivered::bigint AS delivered, c.read::bigint AS read,
           c.failed::bigint AS failed, c.replied::bigint AS replied, c.opted_out::bigint AS opted_out,
           c.converted::bigint AS converted, c.currency::text AS currency,
           c.attributed_revenue_cents::bigint AS attributed_revenue_cents,
           c.incremental_revenue_cents::bigint AS incremental_revenue_cents, c.cost_cents::bigint AS cost_cents,
           c.delivery_rate::float8 AS delivery_rate, c.read_rate::float8 AS read_rate,
           c.response_rate::float8 AS response_rate, c.conversion_rate::float8 AS conversion_rate, c.roi::float8 AS roi,
           e.difference::float8 AS uplift, e.difference_low::float8 AS uplift_low,
           e.difference_high::float8 AS uplift_high, e.is_significant::boolean AS uplift_is_significant
    FROM marts.mart_campaign_performance c
    LEFT JOIN marts.mart_experiment_results e ON e.campaign_id = c.campaign_id AND e.arm = 'treated'
    WHERE {_ACTIVE} ORDER BY c.last_sent_at DESC, c.campaign_id LIMIT :limit
""")
_CAMPAIGN_TOTALS = sa.text(f"""
    SELECT count(*)::bigint AS campaigns, coalesce(sum(c.sent), 0)::bigint AS sent,
           coalesce(sum(c.delivered), 0)::bigint AS delivered, coalesce(sum(c.read), 0)::bigint AS read,
           coalesce(sum(c.failed), 0)::bigint AS failed, coalesce(sum(c.replied), 0)::bigint AS replied,
           coalesce(sum(c.opted_out), 0)::bigint AS opted_out, coalesce(sum(c.converted), 0)::bigint AS converted
    FROM marts.mart_campaign_performance c WHERE {_ACTIVE}
""")


def days(session: Session, asked: DateRange) -> list[DayMessages]:
    return [DayMessages(**row, **message_rates(row)) for row in published.rows(session, _DAYS, _bounds(asked))]


def messages(session: Session, asked: DateRange) -> MessageTotals:
    return message_totals(days(session, asked))


def message_totals(each_day: list[DayMessages]) -> MessageTotals:
    sums = {name: sum(getattr(day, name) for day in each_day) for name in _COUNTS}
    return MessageTotals(**sums, **message_rates(sums))


def hours(session: Session, asked: DateRange) -> list[HourVolume]:
    return [HourVolume(**row) for row in published.rows(session, _HOURS, _bounds(asked))]


def engagement_days(session: Session, asked: DateRange) -> list[EngagementDay]:
    rows = published.rows(session, _ENGAGEMENT, _bounds(asked))
    return [EngagementDay(date=row["date"], **_engaged(row)) for row in rows]


def engagement(session: Session, asked: DateRange) -> EngagementTotals:
    rows = published.rows(session, _ENGAGEMENT, _bounds(asked))
    return EngagementTotals(**_engaged({name: sum(row[name] for row in rows) for name in _ENGAGEMENT_SUMS}))


def revenue(session: Session, asked: DateRange) -> list[RevenueTotals]:
    return [RevenueTotals(**row) for row in published.rows(session, _REVENUE, _bounds(asked))]


def usage(session: Session, asked: DateRange) -> UsageTotals:
    (row,) = published.rows(session, _USAGE, _bounds(asked))
    return UsageTotals(**row)


def campaigns(
    session: Session,
    asked: DateRange,
    as_of: dt.datetime,
    live: Sequence[CampaignFigures] = (),
    campaign_id: uuid.UUID | None = None,
    *,
    limit: int,
) -> list[CampaignFigures]:
    """Those that sent in the range, `live` ones among the published, the latest first."""
    rows = published.rows(session, _CAMPAIGNS, _bounds(asked) | {"campaign_id": campaign_id, "limit": limit})
    found = [*live, *(CampaignFigures(source="published", as_of=as_of, **row) for row in rows)]
    return sorted(found, key=lambda each: each.last_sent_at or as_of, reverse=True)[:limit]


def campaign_totals(
    session: Session,
    asked: DateRange,
    live: Sequence[CampaignFigures] = (),
    campaign_id: uuid.UUID | None = None,
) -> CampaignTotals:
    """Over the published and the `live` ones."""
    (row,) = published.rows(session, _CAMPAIGN_TOTALS, _bounds(asked) | {"campaign_id": campaign_id})
    counts = {name: row[name] + sum(getattr(each, name) for each in live) for name in row if name != "campaigns"}
    return CampaignTotals(campaigns=row["campaigns"] + len(live), **counts, **campaign_rates(counts))


def _bounds(asked: DateRange) -> dict[str, Any]:
    return {"first": asked.first, "last": asked.last}


def _engaged(sums: Mapping[str, Any]) -> dict[str, Any]:
    read, answered = share(sums["read"], sums["delivered"]), share(sums["replied"], sums["sent"])
    return {name: sums[name] for name in ("received", "replied", "active_contacts", "conversations")} | {
        "response_seconds_mean": share(sums["response_seconds_sum"], sums["replied"]),
        "reply_characters_mean": share(sums["reply_characters_sum"], sums["replies_measured"]),
        "conversation_seconds_mean": share(sums["conversation_seconds_sum"], sums["conversations"]),
        "engagement_score": None if answered is None else 50 * (read or 0.0) + 50 * answered,
    }
