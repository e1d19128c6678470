"""What became of a campaign, counted from the rows themselves."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.orm import Session

from serving.campaign.schemas import CampaignStats, TemplateRead
from serving.models import Campaign

_DECIDED = sa.text("""
    SELECT outcome, reason, count(*) AS people FROM decisions WHERE campaign_id = :id AND stage = 'plan' GROUP BY
        outcome, reason
""")
_STATES = sa.text(
    "SELECT state, reason, count(*) AS messages FROM outbound_messages WHERE campaign_id = :id GROUP BY state, reason"
)
_MESSAGES = sa.text("""
    SELECT count(*) AS accepted, count(*) FILTER (WHERE status IN ('delivered', 'read')) AS delivered,
           count(*) FILTER (WHERE status = 'read') AS read, count(*) FILTER (WHERE status = 'failed') AS failed
    FROM messages WHERE campaign_id = :id AND direction = 'outbound'
""")
_REPLIES = sa.text("""
    SELECT count(DISTINCT contact_id) AS replied, count(DISTINCT contact_id) FILTER (WHERE classification =
        'unsubscribe') AS opted_out
    FROM replies WHERE campaign_id = :id
""")
# People with an order, or a redemption, within the attribution window of their send; of the held out, of their
# decision.
_ORDERED = sa.text("""
    WITH arms AS (
        SELECT contact_id, 'sent' AS arm, min(timestamp) AS since FROM messages
        WHERE campaign_id = :id AND direction = 'outbound' AND status <> 'failed' GROUP BY contact_id
        UNION ALL
        SELECT contact_id, 'held_out', min(decided_at) FROM decisions
        WHERE campaign_id = :id AND stage = 'plan' AND outcome = 'hold_out' GROUP BY contact_id
    )
    SELECT arm, count(*) FROM arms WHERE EXISTS (
        SELECT FROM orders AS o WHERE :event = 'order' AND o.contact_id = arms.contact_id AND o.status <> 'cancelled'
          AND o.ordered_at >= arms.since AND o.ordered_at < arms.since + make_interval(secs => :window)
        UNION ALL
        SELECT FROM conversions AS c WHERE :event = 'redemption' AND c.campaign_id = :id AND c.contact_id =
            arms.contact_id
          AND c.occurred_at >= arms.since AND c.occurred_at < arms.since + make_interval(secs => :window)
    ) GROUP BY arm
""")


def campaign_stats(session: Session, campaign: Campaign) -> CampaignStats:
    """The counts of one campaign up to now."""
    key = {"id": campaign.id}
    people: dict[str, int] = {}
    suppressed: dict[str, int] = {}
    for outcome, reason, count in session.execute(_DECIDED, key).tuples():
        people[outcome] = people.get(outcome, 0) + count
        if outcome == "suppress":
            suppressed[reason] = count
    states: dict[str, int] = {}
    for state, reason, count in session.execute(_STATES, key).tuples():
        states[state] = states.get(state, 0) + count
        if state == "suppressed":
            suppressed[reason] = suppressed.get(reason, 0) + count
    sent = session.execute(_MESSAGES, key).one()
    answers = session.execute(_REPLIES, key).one()
    parameters = key | {"event": campaign.conversion_event, "window": campaign.attribution_seconds}
    ordered: dict[str, int] = dict(session.execute(_ORDERED, parameters).tuples().all())
    held_out = people.get("hold_out", 0)
    return CampaignStats(
        eligible=people.get("send", 0) + held_out, held_out=held_out, suppressed=suppressed, states=states,
        accepted=sent.accepted, delivered=sent.delivered, read=sent.read, failed=states.get("failed", sent.failed),
        unknown=states.get("unknown", 0), replied=answers.replied, opted_out=answers.opted_out,
        ordered=ordered.get("sent", 0), held_out_ordered=ordered.get("held_out", 0),
        delivery_rate=_share(sent.delivered, sent.accepted), read_rate=_share(sent.read, sent.accepted),
        reply_rate=_share(answers.replied, sent.read), order_rate=_share(ordered.get("sent", 0), sent.accepted),
        held_out_order_rate=_share(ordered.get("held_out", 0), held_out),
    )  # fmt: skip


def used_templates(session: Session) -> list[TemplateRead]:
    """The provider templates that campaigns name, most recent first."""
    rows = session.execute(
        sa.text("""
            SELECT template_name, template_language, count(*) AS campaigns, max(start_date) AS last_used_at FROM
                campaigns
            WHERE template_name IS NOT NULL GROUP BY 1, 2 ORDER BY max(created_at) DESC, 1, 2 LIMIT 200
        """)
    )
    return [TemplateRead.model_validate(dict(row._mapping)) for row in rows]


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
