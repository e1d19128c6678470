"""Campaigns set running: by a user, or by a worker when their time has come."""

from __future__ import annotations

import datetime as dt
import logging
import uuid

import sqlalchemy as sa
from sqlalchemy.orm import Session

from serving.campaign.content import Templates, check_end, check_sendable
from serving.campaign.plan import CampaignPlan, CampaignReachesNobody, number_of, plan_campaign
from serving.campaign.service import expect, get
from serving.errors import ServingError, Unavailable
from serving.kit.database import Database
from serving.models import Campaign
from serving.settings import Settings

log = logging.getLogger(__name__)


def start(
    session: Session, campaign_id: uuid.UUID, now: dt.datetime, templates: Templates, *,
    configured: Settings | None = None, dry_run: bool = False,
) -> tuple[Campaign, CampaignPlan]:  # fmt: skip
    """The running campaign and who it goes to. Its messages are queued, not yet sent. The holdout is drawn by the
    campaign's own id, so that starting again after a failure holds out the same people. With `dry_run` the plan only,
    or the error that a start would be: nothing is changed.

    Raises: CampaignNotFound, CampaignStateRefused, CampaignHasNoSegment, CampaignHasNoNumber, CampaignNotSendable,
    CampaignReachesNobody, ProviderUnavailable.
    """
    campaign = get(session, campaign_id, lock=True)
    expect(campaign, {"draft", "scheduled"})
    attempt = session.begin_nested()
    plan = _start(session, campaign, now, now, templates, configured, dry_run=dry_run)
    if dry_run:
        attempt.rollback()
    else:
        attempt.commit()
    session.refresh(campaign)
    return campaign, plan


def _start(
    session: Session, campaign: Campaign, start_date: dt.datetime, now: dt.datetime, templates: Templates,
    configured: Settings | None, *, dry_run: bool = False,
) -> CampaignPlan:  # fmt: skip
    check_end(campaign, now)
    check_sendable(campaign, number_of(session, campaign), templates)
    campaign.status, campaign.status_reason, campaign.start_date = "running", None, start_date
    session.flush()
    plan = plan_campaign(session, campaign.id, now, seed=str(campaign.id), configured=configured, dry_run=dry_run)
    if plan.queued == 0:
        raise CampaignReachesNobody(_reasons(plan), suppressed=plan.suppressed, held_out=plan.held_out)
    return plan


def start_due(
    database: Database, tenant_id: uuid.UUID, now: dt.datetime, templates: Templates, configured: Settings
) -> list[uuid.UUID]:
    """The scheduled campaigns whose time has come, now running. One that cannot start is a draft again, with the
    reason; one whose provider does not answer, or that fails as nobody foresaw, is tried again at the next call and
    keeps no other waiting."""
    started = []
    with database.tenant(tenant_id) as session:
        due = sa.select(Campaign.id).where(Campaign.status == "scheduled", Campaign.start_date <= now)
        found = list(session.scalars(due.order_by(Campaign.start_date, Campaign.id)))
    for campaign_id in found:
        try:
            with database.tenant(tenant_id) as session:
                is_started = _start_one(session, campaign_id, now, templates, configured)
        except Exception:
            log.exception("campaign.start_failed", extra={"campaign_id": str(campaign_id)})
            continue
        if is_started:
            started.append(campaign_id)
    return started


def _start_one(
    session: Session, campaign_id: uuid.UUID, now: dt.datetime, templates: Templates, configured: Settings
) -> bool:
    """Whether the campaign is running now by this call. It is locked from before it is looked at: an edit comes
    before, and is heeded, or after."""
    due = sa.select(Campaign).where(
        Campaign.id == campaign_id, Campaign.status == "scheduled", Campaign.start_date <= now
    )
    campaign = session.scalar(due.with_for_update().execution_options(populate_existing=True))
    if campaign is None or campaign.start_date is None:
        return False  # somebody else started, moved or removed it
    attempt = session.begin_nested()
    try:
        _start(session, campaign, campaign.start_date, now, templates, configured)
    except Unavailable as error:
        attempt.rollback()
        log.warning("campaign.start_postponed", extra={"campaign_id": str(campaign_id), "error": str(error)})
        return False
    except ServingError as error:
        attempt.rollback()
        log.warning("campaign.not_started", extra={"campaign_id": str(campaign_id), "error": error.type_uri()})
        campaign.status, campaign.status_reason = "draft", _why(error)
        return False
    attempt.commit()
    return True


def _reasons(plan: CampaignPlan) -> str:
    counts = sorted(plan.suppressed.items(), key=lambda entry: -entry[1])
    if plan.held_out:
        counts.append(("held out", plan.held_out))
    return ", ".join(f"{reason} {count}" for reason, count in counts) or "the segment has no members"


def _why(error: ServingError) -> str:
    parts = [str(entry["message"]) for entry in error.fields.get("errors", ())] or [error.detail or ""]
    return ": ".join(part for part in ("not started", error.title, "; ".join(parts)) if part)
