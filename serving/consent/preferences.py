"""What people tell the provider itself about a business's marketing: its own stop, and its own resume."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.orm import Session

from serving.consent.service import ConsentChange, record_consents
from serving.consent.suppression import phone_hmac

MARKETING = "marketing_messages"
SOURCE = "user_preferences"


class Preference(NamedTuple):
    """One stop or resume; the person by E.164 phone, by the provider's user id, or by both."""

    phone: str | None
    user_id: str | None
    event_key: str
    value: str
    occurred_at: dt.datetime
    known_at: dt.datetime
    detail: str | None


_KNOWN = sa.text("""
    SELECT c.id, true AS has_number FROM contacts AS c WHERE c.phone = :phone
    UNION
    SELECT i.contact_id, c.phone IS NOT DISTINCT FROM :phone FROM contact_identities AS i
    JOIN contacts AS c ON c.id = i.contact_id WHERE i.kind = 'whatsapp_user_id' AND i.value = :user_id
""")
# The person's own last word before the resume, and whether a stop of the provider's came after it. Of two in one second
# the withdrawal is the later one.
_LIFTS = sa.text("""
    SELECT own.status = 'opted_in' AND stop.occurred_at >= own.occurred_at
    FROM (SELECT status, occurred_at FROM consent_events
          WHERE contact_id = :contact_id AND purpose = 'marketing' AND source <> :source AND occurred_at <= :at
          ORDER BY occurred_at DESC, status DESC LIMIT 1) AS own,
         (SELECT max(occurred_at) AS occurred_at FROM consent_events
          WHERE contact_id = :contact_id AND purpose = 'marketing' AND source = :source AND status = 'opted_out'
            AND occurred_at < :at) AS stop
""")
_LIST = sa.text("""
    INSERT INTO unsubscribers (tenant_id, phone_hmac, reason, date, campaign_id)
    VALUES (:tenant_id, :hmac, :source, :at, NULL) ON CONFLICT (tenant_id, phone_hmac) DO NOTHING
""")
_UNLIST = sa.text("DELETE FROM unsubscribers WHERE phone_hmac = :hmac AND reason = :source AND date < :at")


def settle_preferences(
    session: Session, tenant_id: uuid.UUID, preferences: Sequence[Preference], now: dt.datetime, phone_key: str
) -> int:
    """How many queued messages the preferences suppressed.

    A stop ends marketing at the number, which is listed even if no contact has it, or has it no longer, and with the
    person wherever else it is known. A resume takes back the provider's own stops at the number and nothing else: it
    grants only where the person's own last word was a grant.
    """
    suppressed = 0
    for preference in sorted(preferences, key=lambda preference: preference.occurred_at):
        known = session.execute(_KNOWN, {"phone": preference.phone, "user_id": preference.user_id}).tuples().all()
        at_number = [contact_id for contact_id, has_number in known if has_number]
        if not at_number:
            _settle_stranger(session, tenant_id, preference, phone_key)
        if preference.value == "resume":
            named = at_number if preference.phone is not None else [contact_id for contact_id, _ in known]
            about = [contact_id for contact_id in named if _is_lifted(session, contact_id, preference)]
        else:
            about = [contact_id for contact_id, _ in known]
        changes = [_change(contact_id, preference) for contact_id in sorted(about)]
        suppressed += record_consents(session, tenant_id, changes, now, phone_key)
    return suppressed


def _is_lifted(session: Session, contact_id: uuid.UUID, preference: Preference) -> bool:
    asked = {"contact_id": contact_id, "source": SOURCE, "at": preference.occurred_at}
    return bool(session.scalar(_LIFTS, asked))


def _change(contact_id: uuid.UUID, preference: Preference) -> ConsentChange:
    resumes = preference.value == "resume"
    return ConsentChange(
        contact_id, f"{preference.event_key}:{contact_id}", "opted_in" if resumes else "opted_out",
        preference.occurred_at, preference.known_at, SOURCE, lifts=resumes,
        proof={"category": MARKETING, "value": preference.value, "detail": preference.detail},
    )  # fmt: skip


def _settle_stranger(session: Session, tenant_id: uuid.UUID, preference: Preference, phone_key: str) -> None:
    if preference.phone is None:
        return
    listed = {"hmac": phone_hmac(preference.phone, phone_key), "source": SOURCE, "at": preference.occurred_at}
    if preference.value == "stop":
        session.execute(_LIST, listed | {"tenant_id": tenant_id})
    else:
        session.execute(_UNLIST, listed)
