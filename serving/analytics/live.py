"""Campaigns that the published marts do not have yet, counted from the operational rows: what began since the last
refresh, or since a tenant's figures are held."""

from __future__ import annotations

import datetime as dt
import uuid

import sqlalchemy as sa
from sqlalchemy.orm import Session

from serving.analytics.ranges import DateRange
from serving.analytics.schemas import CampaignFigures
from serving.campaign.counts import count_campaigns
from serving.campaign.rates import campaign_rates
from serving.errors import NotFound
from serving.models import Campaign

# Between two refreshes a business starts few; of more, the newest are counted.
MAX_CAMPAIGNS = 20
_NOT_PUBLISHED = sa.text("""
    SELECT c.id, c.name, c.type, c.status FROM campaigns c
    WHERE (CAST(:campaign_id AS uuid) IS NULL OR c.id = :campaign_id)
      AND NOT EXISTS (SELECT FROM marts.mart_campaign_performance p WHERE p.campaign_id = c.id AND p.sent > 0)
      AND EXISTS (SELECT FROM messages m WHERE m.campaign_id = c.id AND m.direction = 'outbound'
                  AND m.timestamp < (CAST(:last AS date) + 1)::timestamp AT TIME ZONE :timezone)
      AND EXISTS (SELECT FROM messages m WHERE m.campaign_id = c.id AND m.direction = 'outbound'
                  AND m.timestamp >= CAST(:first AS date)::timestamp AT TIME ZONE :timezone)
    ORDER BY c.created_at DESC, c.id LIMIT :limit
""")
_ONLY_THE_WAREHOUSE = (
    "incremental_revenue_cents", "cost_cents", "roi", "uplift", "uplift_low", "uplift_high", "uplift_is_significant",
)  # fmt: skip


class CampaignUnknown(NotFound):
    title = "There is no such campaign"


def require_campaign(session: Session, campaign_id: uuid.UUID | None) -> None:
    """Raises: CampaignUnknown, for a foreign one too; none at all passes."""
    if campaign_id is not None and session.scalar(sa.select(Campaign.id).where(Campaign.id == campaign_id)) is None:
        raise CampaignUnknown


def live_campaigns(
    session: Session, asked: DateRange, now: dt.datetime, campaign_id: uuid.UUID | None = None
) -> list[CampaignFigures]:
    """Those that sent in the range and are in no published mart, MAX_CAMPAIGNS at most."""
    found = session.execute(
        _NOT_PUBLISHED,
        {
            "campaign_id": campaign_id, "first": asked.first, "last": asked.last, "timezone": asked.timezone,
            "limit": MAX_CAMPAIGNS,
        },
    ).all()  # fmt: skip
    if not found:
        return []
    counted = count_campaigns(session, [campaign.id for campaign in found])
    nothing = dict.fromkeys(_ONLY_THE_WAREHOUSE)
    made = []
    for campaign in found:
        counts = counted[campaign.id].as_dict()
        told = {name: counts[name] for name in CampaignFigures.model_fields if name in counts}
        made.append(
            CampaignFigures(
                source="live", as_of=now, campaign_id=campaign.id, name=campaign.name, type=campaign.type,
                status=campaign.status, **told, **campaign_rates(counts), **nothing,
            )
        )  # fmt: skip
    return made
