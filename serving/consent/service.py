"""Grants and withdrawals: recorded with their proof, applied to what is allowed now and to what is already queued."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.orm import Session

from serving.consent.suppression import phone_hmac

# A request may leave this long after the gate allowed it, and not later.
START_SECONDS = 5
# What a decision was made by, kept with it: of the plan, the gate and consent. Raised when any of their rules changes.
POLICY_VERSION = "2026-12.1"
# The source of a withdrawal that nobody asked for: the contact has another number now. See serving.consent.numbers.
PHONE_CHANGED = "phone_changed"


class ConsentChange(NamedTuple):
    """One grant or withdrawal. `event_key` makes recording it twice harmless; `lifts` says that the person's own words
    grant it, which takes the number off the list of the unsubscribed."""

    contact_id: uuid.UUID
    event_key: str
    status: str
    occurred_at: dt.datetime
    known_at: dt.datetime
    source: str
    wording: str | None = None
    language: str | None = None
    proof: dict[str, Any] | None = None
    purpose: str = "marketing"
    lifts: bool = False


_RECORD = sa.text("""
    INSERT INTO consent_events (tenant_id, contact_id, event_key, purpose, status, occurred_at, known_at, source,
        wording,
                                language, proof)
    SELECT CAST(:tenant_id AS uuid), contact_id, event_key, purpose, status, occurred_at, known_at, source, wording,
           language, coalesce(proof, '{}'::jsonb)
    FROM jsonb_to_recordset(CAST(:changes AS jsonb)) AS change (
        contact_id uuid, event_key text, purpose text, status text, occurred_at timestamptz, known_at timestamptz,
        source text, wording text, language text, proof jsonb)
    ON CONFLICT (tenant_id, event_key) DO NOTHING
""")
# Waits for a gate that shares these rows, and is waited for by none: a gate leaves out what it cannot share.
_HOLD = sa.text("""
    SELECT id FROM consents WHERE contact_id = ANY(:contacts) ORDER BY contact_id, purpose FOR NO KEY UPDATE
""")
# The newest event holds, whatever order they arrived in; of two in one second the withdrawal. It takes effect when it
# occurred, unless a send was allowed since: then once nothing that was allowed can still leave.
_APPLY = sa.text("""
    WITH latest AS (
        SELECT DISTINCT ON (contact_id, purpose) contact_id, purpose, status, occurred_at, source
        FROM consent_events WHERE contact_id = ANY(:contacts)
        ORDER BY contact_id, purpose, occurred_at DESC, status DESC
    ), sends AS (
        SELECT o.contact_id, max(a.started_at) AS started_at,
               max(a.started_at + make_interval(secs => :start_seconds)) FILTER (WHERE a.outcome IS NULL) AS not_after
        FROM outbound_messages AS o JOIN send_attempts AS a ON a.outbound_message_id = o.id
        WHERE o.contact_id = ANY(:contacts) GROUP BY o.contact_id
    )
    INSERT INTO consents AS held (tenant_id, contact_id, purpose, status, effective_at, source)
    SELECT CAST(:tenant_id AS uuid), latest.contact_id, purpose, status,
           CASE WHEN status = 'opted_out' AND greatest(sends.started_at, sends.not_after) >= occurred_at
                THEN greatest(clock_timestamp(), sends.started_at, sends.not_after) ELSE occurred_at END, source
    FROM latest LEFT JOIN sends USING (contact_id) ORDER BY latest.contact_id, purpose
    ON CONFLICT (tenant_id, contact_id, purpose) DO UPDATE
    SET status = excluded.status, effective_at = excluded.effective_at, source = excluded.source
    WHERE held.status <> excluded.status OR held.effective_at < excluded.effective_at
""")
_SUPPRESS_QUEUED = sa.text("""
    UPDATE outbound_messages AS o SET state = 'suppressed',
        reason = CASE WHEN c.source = 'phone_changed' THEN c.source ELSE 'opted_out' END
    FROM consents AS c WHERE c.contact_id = ANY(:contacts) AND c.status = 'opted_out' AND o.contact_id = c.contact_id
        AND o.purpose = c.purpose AND o.state = 'queued'
    RETURNING o.id, o.contact_id, o.campaign_id
""")
_DECIDE = sa.text("""
    INSERT INTO decisions (tenant_id, campaign_id, contact_id, outbound_message_id, stage, outcome, reason,
        policy_version,
                           decided_at)
    SELECT CAST(:tenant_id AS uuid), o.campaign_id, o.contact_id, o.id, 'consent', 'suppress', o.reason, :policy, :now
    FROM outbound_messages AS o WHERE o.id = ANY(:ids)
""")
_HELD = sa.text("""
    SELECT c.id, c.phone, held.status FROM contacts AS c JOIN consents AS held ON held.contact_id = c.id
    WHERE c.id = ANY(:contacts) AND held.purpose = 'marketing' AND c.phone IS NOT NULL
""")
_UNSUBSCRIBE = sa.text("""
    INSERT INTO unsubscribers (tenant_id, phone_hmac, reason, date, campaign_id)
    SELECT CAST(:tenant_id AS uuid), hmac, reason, CAST(:now AS timestamptz), NULL
    FROM unnest(CAST(:hmacs AS text[]), CAST(:reasons AS text[])) AS listed (hmac, reason)
    ON CONFLICT (tenant_id, phone_hmac) DO NOTHING
""")


def record_consents(
    session: Session, tenant_id: uuid.UUID, changes: Sequence[ConsentChange], now: dt.datetime, phone_key: str
) -> int:
    """How many queued messages the changes suppressed. No send starts after a withdrawal's `consents.effective_at`,
    which is at most START_SECONDS away."""
    if not changes:
        return 0
    contacts = sorted({change.contact_id for change in changes})
    rows = [change._asdict() | {"lifts": None} for change in changes]
    session.execute(_RECORD, {"tenant_id": tenant_id, "changes": json.dumps(rows, default=str)})
    session.execute(_HOLD, {"contacts": contacts})
    session.execute(_APPLY, {"tenant_id": tenant_id, "contacts": contacts, "start_seconds": START_SECONDS})
    _list_numbers(session, tenant_id, changes, contacts, now, phone_key)
    suppressed = [row.id for row in session.execute(_SUPPRESS_QUEUED, {"contacts": contacts})]
    if suppressed:
        session.execute(_DECIDE, {"tenant_id": tenant_id, "ids": suppressed, "now": now, "policy": POLICY_VERSION})
    return len(suppressed)


def _list_numbers(
    session: Session, tenant_id: uuid.UUID, changes: Sequence[ConsentChange], contacts: list[uuid.UUID],
    now: dt.datetime,
    phone_key: str,
) -> None:  # fmt: skip
    withdrew = {
        change.contact_id: change.source
        for change in changes
        if change.status == "opted_out" and change.source != PHONE_CHANGED
    }
    lifted = {change.contact_id for change in changes if change.lifts}
    listed: dict[str, str] = {}
    freed: list[str] = []
    for contact_id, phone, status in session.execute(_HELD, {"contacts": contacts}).tuples():
        if status == "opted_out" and contact_id in withdrew:
            listed[phone_hmac(phone, phone_key)] = withdrew[contact_id]
        elif status == "opted_in" and contact_id in lifted:
            freed.append(phone_hmac(phone, phone_key))
    if listed:
        parameters = {"tenant_id": tenant_id, "hmacs": list(listed), "reasons": list(listed.values()), "now": now}
        session.execute(_UNSUBSCRIBE, parameters)
    if freed:
        session.execute(sa.text("DELETE FROM unsubscribers WHERE phone_hmac = ANY(:hmacs)"), {"hmacs": freed})
