"""Campaigns and their way from draft to done. Every change of state is one row locked, checked and written."""

from __future__ import annotations

import datetime as dt
import logging
import uuid
from collections.abc import Collection
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from serving.campaign.content import Templates, check_sendable, check_type
from serving.campaign.plan import (
    CampaignHasNoSegment,
    number_of,
    render_queued,
)
from serving.campaign.schemas import CampaignCreate, CampaignSchedule, CampaignUpdate
from serving.consent.service import POLICY_VERSION
from serving.errors import Conflict, NotFound, Unprocessable
from serving.kit.database import TENANT
from serving.models import Campaign, PhoneNumber, Segment

log = logging.getLogger(__name__)

_COPIED = (
    "type", "message_template", "template_name", "template_language", "attributes", "conversion_event",
    "attribution_seconds", "holdout_rate", "segment_id", "phone_number_id",
)  # fmt: skip
# Once people were assigned, these would change what their assignment or its measurement meant, or whom they hear from.
_FIXED_AFTER_START = frozenset(
    {
        "attributes", "conversion_event", "attribution_seconds", "holdout_rate", "segment_id", "type",
        "phone_number_id", "start_date",
    }
)  # fmt: skip
_CONTENT = frozenset({"message_template", "template_name", "template_language"})
# What of a campaign is checked before it may be scheduled.
_CHECKED = _CONTENT | {"type", "segment_id", "phone_number_id"}
_REQUIRED = frozenset(
    {
        "name", "type", "message_template", "template_language", "attributes", "conversion_event",
        "attribution_seconds", "holdout_rate",
    }
)  # fmt: skip


class CampaignNotFound(NotFound):
    title = "There is no such campaign"


class CampaignStateRefused(Conflict):
    """`status_now` is the campaign's, `allowed` what it would have to be."""

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


def update(
    session: Session, campaign_id: uuid.UUID, body: CampaignUpdate, now: dt.datetime, templates: Templates
) -> Campaign:
    """The campaign, changed. A scheduled one is planned when it starts, so that everything may change until then. A
    paused one may get another text or template: what is still queued is written anew, to the same people. A running one
    keeps what it says.

    Raises: CampaignNotFound, CampaignStateRefused, CampaignNotSendable, CampaignHasNoSegment, CampaignHasNoNumber,
    ProviderUnavailable, Unprocessable.
    """
    campaign = get(session, campaign_id, lock=True)
    values = body.model_dump(exclude_unset=True)
    required = {name for name in values if values[name] is None} & _REQUIRED
    if required:
        raise Unprocessable(
            errors=[{"field": name, "message": "cannot be null", "code": "null"} for name in sorted(required)]
        )
    changes = {name: value for name, value in values.items() if getattr(campaign, name) != value}
    _allow_changes(campaign, changes.keys())
    _check_references(session, changes)
    _check_dates(values.get("start_date", campaign.start_date), values.get("end_date", campaign.end_date))
    if campaign.status == "scheduled" and "start_date" in changes:
        _check_start(changes["start_date"], now)
    for name, value in changes.items():
        setattr(campaign, name, value)
    if campaign.status in ("scheduled", "paused") and _CHECKED & changes.keys():
        if campaign.segment_id is None and campaign.status == "scheduled":
            raise CampaignHasNoSegment
        check_sendable(campaign, number_of(session, campaign), templates)
    if campaign.status == "paused" and _CONTENT & changes.keys():
        render_queued(session, campaign_id, now)
    session.flush()
    session.refresh(campaign)
    return campaign


def _allow_changes(campaign: Campaign, changed: Collection[str]) -> None:
    if not changed:
        return
    if campaign.status in ("completed", "stopped"):
        raise CampaignStateRefused(status_now=campaign.status, allowed=["draft", "scheduled", "running", "paused"])
    fixed = sorted(_FIXED_AFTER_START & set(changed)) if campaign.status in ("running", "paused") else []
    if fixed:
        raise CampaignStateRefused(
            f"fixed once people were assigned: {', '.join(fixed)}",
            status_now=campaign.status, allowed=["draft", "scheduled"],
        )  # fmt: skip
    if campaign.status == "running" and _CONTENT & set(changed):
        raise CampaignStateRefused(
            "pause the campaign to change what it says", status_now=campaign.status,
            allowed=["draft", "scheduled", "paused"],
        )  # fmt: skip


def delete(session: Session, campaign_id: uuid.UUID) -> None:
    """Raises: CampaignNotFound, CampaignHasHistory."""
    campaign = get(session, campaign_id, lock=True)
    if campaign.status not in ("draft", "scheduled") or _has_history(session, campaign_id):
        raise CampaignHasHistory
    session.delete(campaign)
    session.flush()


def pause(session: Session, campaign_id: uuid.UUID, reason: str = "paused by a user") -> Campaign:
    """Afterwards no send is allowed any more; one that was allowed a moment before may still leave, for at most five
    seconds. Raises: as `start`."""
    return _move(session, campaign_id, {"running"}, "paused", reason)


def resume(session: Session, campaign_id: uuid.UUID, templates: Templates) -> Campaign:
    """Raises: as `start`."""
    campaign = _move(session, campaign_id, {"paused"}, "running")
    check_sendable(campaign, number_of(session, campaign), templates)
    return campaign


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
    session: Session, campaign_id: uuid.UUID, body: CampaignSchedule, now: dt.datetime, templates: Templates
) -> Campaign:
    """The campaign, to be started at `start_date`; its end stays unless another is given. Who it goes to is decided
    then; that it could be sent is checked now and then.

    Raises: CampaignNotFound, CampaignStateRefused, CampaignHasNoSegment, CampaignHasNoNumber, CampaignNotSendable,
    ProviderUnavailable, Unprocessable."""
    _check_start(body.start_date, now)
    campaign = _move(session, campaign_id, {"draft", "scheduled"}, "scheduled")
    campaign.start_date = body.start_date
    if "end_date" in body.model_fields_set:
        campaign.end_date = body.end_date
    _check_dates(campaign.start_date, campaign.end_date)
    if campaign.segment_id is None:
        raise CampaignHasNoSegment
    check_sendable(campaign, number_of(session, campaign), templates)
    session.flush()
    session.refresh(campaign)
    return campaign


def duplicate(
    session: Session, campaign_id: uuid.UUID, name: str | None, *, created_by: uuid.UUID | None, now: dt.datetime
) -> Campaign:
    """A new draft with the same content and audience. Raises: CampaignNotFound, Unprocessable for a type that cannot
    be sent."""
    source = get(session, campaign_id)
    if errors := check_type(source.type):
        raise Unprocessable(errors=errors)
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
    expect(campaign, allowed)
    campaign.status, campaign.status_reason = status, reason
    session.flush()
    session.refresh(campaign)
    return campaign


def expect(campaign: Campaign, allowed: set[str]) -> None:
    """Raises: CampaignStateRefused."""
    if campaign.status not in allowed:
        raise CampaignStateRefused(status_now=campaign.status, allowed=sorted(allowed))


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


def _check_start(start_date: dt.datetime | None, now: dt.datetime) -> None:
    if start_date is None or start_date <= now:
        raise Unprocessable(errors=[{"field": "start_date", "message": "is not in the future", "code": "past"}])


def _check_dates(start_date: dt.datetime | None, end_date: dt.datetime | None) -> None:
    if start_date is not None and end_date is not None and end_date <= start_date:
        raise Unprocessable(errors=[{"field": "end_date", "message": "is not after start_date", "code": "order"}])
