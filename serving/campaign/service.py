"""Campaigns and their way from draft to done. Every change of state is one row locked, checked and written."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from serving.campaign.plan import POLICY_VERSION, CampaignPlan, plan_campaign
from serving.campaign.schemas import CampaignCreate, CampaignUpdate
from serving.errors import Conflict, NotFound, Unprocessable
from serving.kit.database import TENANT
from serving.models import Campaign, PhoneNumber, Segment
from serving.settings import Settings

_COPIED = (
    "type", "message_template", "template_name", "template_language", "attributes", "conversion_event",
    "attribution_seconds", "holdout_rate", "segment_id", "phone_number_id",
)  # fmt: skip
# Once people were assigned, these would change what their assignment or its measurement meant.
_FIXED_AFTER_START = frozenset(
    {"attributes", "conversion_event", "attribution_seconds", "holdout_rate", "segment_id", "type"}
)


class CampaignNotFound(NotFound):
    title = "There is no such campaign"


class CampaignStateRefused(Conflict):
    """`status` is the campaign's, `allowed` what it would have to be."""

    title = "The campaign's state does not allow this"


class CampaignHasHistory(Conflict):
    title = "A campaign that was started is kept for its results"


def create(session: Session, body: CampaignCreate, *, created_by: uuid.UUID | None, now: dt.datetime) -> Campaign:
    """Raises: Unprocessable for a segment or number that is not the tenant's."""
    values = body.model_dump()
    _check_references(session, values)
    _check_dates(body.start_date, body.end_date)
    campaign = Campaign(tenant_id=session.info[TENANT], created_by=created_by, status="draft", known_at=now, **values)
    session.add(campaign)
    session.flush()
    session.refresh(campaign)
    return campaign


def get(session: Session, campaign_id: uuid.UUID, *, lock: bool = False) -> Campaign:
    """Raises: CampaignNotFound."""
    statement = sa.select(Campaign).where(Campaign.id == campaign_id)
    if lock:
        statement = statement.with_for_update().execution_options(populate_existing=True)
    campaign = session.scalar(statement)
    if campaign is None:
        raise CampaignNotFound
    return campaign


def update(session: Session, campaign_id: uuid.UUID, body: CampaignUpdate) -> Campaign:
    """Raises: CampaignNotFound, CampaignStateRefused, Unprocessable."""
    campaign = get(session, campaign_id, lock=True)
    values = body.model_dump(exclude_unset=True)
    required = {name for name in values if values[name] is None} & {
        "name", "type", "message_template", "template_language", "attributes", "conversion_event",
        "attribution_seconds",
        "holdout_rate",
    }  # fmt: skip
    if required:
        raise Unprocessable(
            errors=[{"field": name, "message": "cannot be null", "code": "null"} for name in sorted(required)]
        )
    if campaign.status in ("completed", "stopped"):
        raise CampaignStateRefused(status_now=campaign.status, allowed=["draft", "scheduled", "running", "paused"])
    if campaign.status in ("running", "paused") and _FIXED_AFTER_START & values.keys():
        raise CampaignStateRefused(
            "these are fixed once people were assigned", status_now=campaign.status, allowed=["draft", "scheduled"]
        )
    _check_references(session, values)
    _check_dates(values.get("start_date", campaign.start_date), values.get("end_date", campaign.end_date))
    for name, value in values.items():
        setattr(campaign, name, value)
    session.flush()
    session.refresh(campaign)
    return campaign


def delete(session: Session, campaign_id: uuid.UUID) -> None:
    """Raises: CampaignNotFound, CampaignHasHistory."""
    campaign = get(session, campaign_id, lock=True)
    if campaign.status not in ("draft", "scheduled") or _has_history(session, campaign_id):
        raise CampaignHasHistory
    session.delete(campaign)
    session.flush()


def start(
    session: Session, campaign_id: uuid.UUID, now: dt.datetime, *, configured: Settings | None = None
) -> tuple[Campaign, CampaignPlan]:
    """The running campaign and who it goes to. Its messages are queued, not yet sent. The holdout is drawn by the
    campaign's own id, so that starting again after a failure holds out the same people.

    Raises: CampaignNotFound, CampaignStateRefused, CampaignHasNoSegment, CampaignHasNoNumber.
    """
    campaign = _move(session, campaign_id, {"draft", "scheduled"}, "running")
    campaign.start_date = now
    session.flush()
    plan = plan_campaign(session, campaign_id, now, seed=str(campaign_id), configured=configured)
    _make_due(session, campaign_id, now)
    session.refresh(campaign)
    return campaign, plan


def pause(session: Session, campaign_id: uuid.UUID, reason: str = "paused by a user") -> Campaign:
    """Waits for sends in flight, at most five seconds; afterwards none starts. Raises: as `start`."""
    return _move(session, campaign_id, {"running"}, "paused", reason)


def resume(session: Session, campaign_id: uuid.UUID) -> Campaign:
    return _move(session, campaign_id, {"paused"}, "running")


def stop(session: Session, campaign_id: uuid.UUID, now: dt.datetime) -> Campaign:
    """The campaign, ended for good: what was queued is suppressed, with a decision for each."""
    campaign = _move(session, campaign_id, {"running", "paused", "scheduled"}, "stopped", "stopped by a user")
    session.execute(
        sa.text("""
            WITH ended AS (
                UPDATE outbound_messages SET state = 'suppressed', reason = 'campaign_stopped'
                WHERE campaign_id = :id AND state = 'queued' RETURNING id, contact_id
            )
            INSERT INTO decisions (tenant_id, campaign_id, contact_id, outbound_message_id, stage, outcome, reason,
                                   policy_version, decided_at)
            SELECT CAST(:tenant_id AS uuid), :id, contact_id, id, 'campaign', 'suppress', 'campaign_stopped', :policy,
                :now
            FROM ended
        """),
        {"id": campaign_id, "tenant_id": session.info[TENANT], "now": now, "policy": POLICY_VERSION},
    )
    return campaign


def schedule(
    session: Session, campaign_id: uuid.UUID, start_date: dt.datetime, end_date: dt.datetime | None,
    now: dt.datetime, *,
    configured: Settings | None = None,
) -> Campaign:  # fmt: skip
    """The campaign with its messages queued for `start_date`, when the send path sets it running. Who it goes to is
    decided now; every send is checked again when it is due. Raises: as `start`, Unprocessable."""
    if start_date <= now:
        raise Unprocessable(errors=[{"field": "start_date", "message": "lies in the past", "code": "past"}])
    _check_dates(start_date, end_date)
    campaign = _move(session, campaign_id, {"draft", "scheduled"}, "scheduled")
    campaign.start_date = start_date
    campaign.end_date = end_date
    session.flush()
    plan_campaign(session, campaign_id, now, seed=str(campaign_id), configured=configured)
    _make_due(session, campaign_id, start_date)
    session.refresh(campaign)
    return campaign


def duplicate(
    session: Session, campaign_id: uuid.UUID, name: str | None, *, created_by: uuid.UUID | None, now: dt.datetime
) -> Campaign:
    """A new draft with the same content and audience. Raises: CampaignNotFound."""
    source = get(session, campaign_id)
    values = {column: getattr(source, column) for column in _COPIED}
    copy = Campaign(
        tenant_id=source.tenant_id, name=name or f"{source.name} (copy)", status="draft", created_by=created_by,
        known_at=now, **values,
    )  # fmt: skip
    session.add(copy)
    session.flush()
    session.refresh(copy)
    return copy


def _move(
    session: Session, campaign_id: uuid.UUID, allowed: set[str], status: str, reason: str | None = None
) -> Campaign:
    campaign = get(session, campaign_id, lock=True)
    if campaign.status not in allowed:
        raise CampaignStateRefused(status_now=campaign.status, allowed=sorted(allowed))
    campaign.status, campaign.status_reason = status, reason
    session.flush()
    session.refresh(campaign)
    return campaign


def _make_due(session: Session, campaign_id: uuid.UUID, due_at: dt.datetime) -> None:
    """Messages queued by an earlier scheduling move with the campaign."""
    session.execute(
        sa.text(
            "UPDATE outbound_messages SET due_at = :due_at WHERE campaign_id = :id AND state = 'queued' AND due_at"
            " <> :due_at"
        ),
        {"id": campaign_id, "due_at": due_at},
    )


def _has_history(session: Session, campaign_id: uuid.UUID) -> bool:
    statement = sa.text(
        "SELECT EXISTS (SELECT FROM decisions WHERE campaign_id = :id) OR"
        " EXISTS (SELECT FROM messages WHERE campaign_id = :id)"
    )
    return bool(session.scalar(statement, {"id": campaign_id}))


def _check_references(session: Session, values: dict[str, Any]) -> None:
    for name, table in (("segment_id", Segment), ("phone_number_id", PhoneNumber)):
        wanted = values.get(name)
        if wanted is not None and session.scalar(sa.select(table.id).where(table.id == wanted)) is None:
            raise Unprocessable(errors=[{"field": name, "message": "there is no such thing", "code": "unknown"}])


def _check_dates(start_date: dt.datetime | None, end_date: dt.datetime | None) -> None:
    if start_date is not None and end_date is not None and end_date <= start_date:
        raise Unprocessable(errors=[{"field": "end_date", "message": "is not after start_date", "code": "order"}])
