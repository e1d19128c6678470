"""What became of campaigns, counted from the operational rows as they are now: by the definitions of dbt's
`mart_campaign_performance`, so that both agree once the warehouse has the same rows."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

# A person is held out, else treated, else suppressed, whatever else was decided later.
_PEOPLE = sa.text("""
    WITH people AS (
        SELECT d.tenant_id, d.campaign_id, d.contact_id, bool_or(outcome = 'hold_out') AS is_held_out,
               bool_or(outcome = 'send') AND NOT bool_or(outcome = 'hold_out') AS is_treated,
               bool_or(outcome = 'suppress') AS is_suppressed, min(decided_at) AS decided_at
        FROM decisions d WHERE d.campaign_id = ANY(:ids) GROUP BY 1, 2, 3
    ),
    judged AS (
        SELECT people.*, (is_held_out OR is_treated) AND EXISTS (
            SELECT FROM orders o WHERE o.contact_id = people.contact_id AND o.status <> 'cancelled'
              AND o.ordered_at >= decided_at
              AND o.ordered_at < decided_at + make_interval(secs => c.attribution_seconds)
        ) AS has_ordered
        FROM people JOIN campaigns c ON c.id = people.campaign_id
    )
    SELECT campaign_id, count(*) FILTER (WHERE is_held_out OR is_treated) AS eligible,
           count(*) FILTER (WHERE is_held_out) AS held_out, count(*) FILTER (WHERE is_treated) AS treated,
           count(*) FILTER (WHERE is_suppressed) AS suppressed,
           count(*) FILTER (WHERE is_treated AND has_ordered) AS treated_ordered,
           count(*) FILTER (WHERE is_held_out AND has_ordered) AS held_out_ordered
    FROM judged GROUP BY campaign_id
""")
# An order, a redemption or an opt-out belongs to the newest send, of whichever campaign, whose window it lies in.
_MESSAGES = sa.text("""
    WITH sends AS MATERIALIZED (
        SELECT m.id, m.campaign_id, m.contact_id, m.timestamp AS sent_at FROM messages m
        WHERE m.campaign_id = ANY(:ids) AND m.direction = 'outbound'
    ),
    statuses AS (
        SELECT s.id, bool_or(e.status IN ('delivered', 'read')) AS is_delivered, bool_or(e.status = 'read') AS is_read,
               bool_or(e.status = 'failed') AS has_failed
        FROM sends s JOIN message_status_events e ON e.message_id = s.id GROUP BY s.id
    ),
    answered AS (
        SELECT DISTINCT s.id FROM sends s JOIN replies r ON r.contact_id = s.contact_id AND r.in_reply_to_id = s.id
    ),
    reached AS (SELECT contact_id, min(sent_at) AS since FROM sends GROUP BY contact_id),
    outcomes AS (
        SELECT 'order' AS outcome, o.contact_id, o.ordered_at AS happened_at, o.total_cents AS cents, o.currency,
               NULL::uuid AS campaign_id
        FROM orders o JOIN reached ON reached.contact_id = o.contact_id AND o.ordered_at >= since
        WHERE o.status <> 'cancelled'
        UNION ALL
        SELECT 'redemption', v.contact_id, v.occurred_at, v.value_cents, NULL, v.campaign_id
        FROM conversions v JOIN reached ON reached.contact_id = v.contact_id AND v.occurred_at >= since
        UNION ALL
        SELECT 'opt_out', e.contact_id, e.occurred_at, NULL, NULL, NULL
        FROM consent_events e JOIN reached ON reached.contact_id = e.contact_id AND e.occurred_at >= since
        WHERE e.status = 'opted_out' AND e.purpose = 'marketing'
    ),
    caused AS (
        SELECT outcome, cents, currency, newest.id FROM outcomes o CROSS JOIN LATERAL (
            SELECT m.id FROM messages m JOIN campaigns c ON c.id = m.campaign_id
            WHERE m.contact_id = o.contact_id AND m.direction = 'outbound' AND m.timestamp <= o.happened_at
              AND o.happened_at <= m.timestamp + make_interval(secs => c.attribution_seconds)
              AND (o.outcome = 'opt_out' OR c.conversion_event = o.outcome)
              AND (o.campaign_id IS NULL OR o.campaign_id = m.campaign_id)
            ORDER BY m.timestamp DESC, m.id LIMIT 1
        ) AS newest
    ),
    results AS (
        SELECT id, bool_or(outcome <> 'opt_out') AS has_converted, bool_or(outcome = 'opt_out') AS has_opted_out,
               sum(cents) FILTER (WHERE outcome <> 'opt_out') AS cents, min(currency) AS currency,
               max(currency) AS last_currency
        FROM caused GROUP BY id
    )
    SELECT s.campaign_id, count(*) AS sent, count(*) FILTER (WHERE is_delivered) AS delivered,
           count(*) FILTER (WHERE is_read) AS read, count(*) FILTER (WHERE has_failed) AS failed,
           count(answered.id) AS replied, count(*) FILTER (WHERE has_opted_out) AS opted_out,
           count(*) FILTER (WHERE has_converted) AS converted,
           coalesce(sum(r.cents), 0)::bigint AS attributed_revenue_cents,
           CASE WHEN min(r.currency) = max(r.last_currency) THEN min(r.currency) END AS currency,
           min(sent_at) AS first_sent_at, max(sent_at) AS last_sent_at
    FROM sends s LEFT JOIN statuses USING (id) LEFT JOIN answered USING (id) LEFT JOIN results r USING (id)
    GROUP BY s.campaign_id
""")


@dataclass(frozen=True, slots=True)
class CampaignCounts:
    """People decided on, and messages sent with what came of them. `treated_ordered` and `held_out_ordered` are people
    who ordered within the window of their decision."""

    eligible: int = 0
    held_out: int = 0
    treated: int = 0
    suppressed: int = 0
    treated_ordered: int = 0
    held_out_ordered: int = 0
    sent: int = 0
    delivered: int = 0
    read: int = 0
    failed: int = 0
    replied: int = 0
    opted_out: int = 0
    converted: int = 0
    attributed_revenue_cents: int = 0
    currency: str | None = None
    first_sent_at: dt.datetime | None = None
    last_sent_at: dt.datetime | None = None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def count_campaigns(session: Session, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, CampaignCounts]:
    """The counts of each of these campaigns, zeros among them, from two statements."""
    found: dict[uuid.UUID, dict[str, Any]] = {campaign: {} for campaign in ids}
    for statement in (_PEOPLE, _MESSAGES):
        for row in session.execute(statement, {"ids": list(ids)}).mappings():
            found[row["campaign_id"]] |= {name: value for name, value in row.items() if name != "campaign_id"}
    return {campaign: CampaignCounts(**counts) for campaign, counts in found.items()}
