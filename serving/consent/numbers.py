"""A grant belongs to a number. A contact that gets another number, or whose person gave the number up, starts without
consent; what was granted before stays as history and is never revived by itself. A withdrawal stays what it is."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Mapping

import sqlalchemy as sa
from sqlalchemy.orm import Session

from serving.consent.service import PHONE_CHANGED, ConsentChange, record_consents

# Never before the newest event: a grant dated ahead of our clock must not outlast the withdrawal.
_HELD = sa.text("""
    SELECT held.contact_id, max(e.occurred_at) AS latest
    FROM consents AS held LEFT JOIN consent_events AS e ON e.contact_id = held.contact_id AND e.purpose = held.purpose
    WHERE held.purpose = 'marketing' AND held.status = 'opted_in' AND held.contact_id = ANY(:contacts)
    GROUP BY held.contact_id
""")
_CLOSE_WINDOWS = sa.text("""
    UPDATE conversations SET window_expires_at = NULL WHERE contact_id = :contact AND window_expires_at IS NOT NULL
""")


def withdraw(
    session: Session, tenant_id: uuid.UUID, causes: Mapping[uuid.UUID, str], now: dt.datetime, phone_key: str
) -> int:
    """How many queued messages were suppressed. `causes` names, for each contact, what changed its number: the same
    cause counts once. Call it before the number changes: a gate that holds the consent is waited for. It
    puts no number on the list of the unsubscribed: nobody said no."""
    held = session.execute(_HELD, {"contacts": sorted(causes)}).tuples().all()
    changes = [
        ConsentChange(contact_id, f"{PHONE_CHANGED}:{contact_id}:{causes[contact_id]}", "opted_out",
                      max(now, latest or now), now, PHONE_CHANGED)
        for contact_id, latest in held
    ]  # fmt: skip
    return record_consents(session, tenant_id, changes, now, phone_key)


def close_windows(session: Session, contact_id: uuid.UUID) -> None:
    """The person at the old number wrote; nobody at the new one did."""
    session.execute(_CLOSE_WINDOWS, {"contact": contact_id})
