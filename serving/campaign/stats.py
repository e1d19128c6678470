"""What became of a campaign, counted from the rows themselves."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.orm import Session

from serving.campaign.counts import count_campaigns
from serving.campaign.rates import campaign_rates, share
from serving.campaign.schemas import CampaignStats, TemplateRead
from serving.models import Campaign

_DECIDED = sa.text("""
    SELECT reason, count(*) AS people FROM decisions
    WHERE campaign_id = :id AND stage = 'plan' AND outcome = 'suppress' GROUP BY reason
""")
_STATES = sa.text(
    "SELECT state, reason, count(*) AS messages FROM outbound_messages WHERE campaign_id = :id GROUP BY state, reason"
)


def campaign_stats(session: Session, campaign: Campaign) -> CampaignStats:
    """The counts of one campaign up to now."""
    key = {"id": campaign.id}
    suppressed: dict[str, int] = {}
    for reason, count in session.execute(_DECIDED, key).tuples():
        suppressed[reason] = count
    states: dict[str, int] = {}
    for state, reason, count in session.execute(_STATES, key).tuples():
        states[state] = states.get(state, 0) + count
        if state == "suppressed":
            suppressed[reason] = suppressed.get(reason, 0) + count
    counts = count_campaigns(session, [campaign.id])[campaign.id].as_dict()
    return CampaignStats(
        **{name: counts[name] for name in CampaignStats.model_fields if name in counts and name != "suppressed"},
        **campaign_rates(counts),
        suppressed=suppressed,
        states=states,
        unknown=states.get("unknown", 0),
        treated_order_rate=share(counts["treated_ordered"], counts["treated"]),
        held_out_order_rate=share(counts["held_out_ordered"], counts["held_out"]),
    )


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
