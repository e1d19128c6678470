"""Numbers never to be sent marketing, kept as HMACs so that the list outlives the contact and names nobody."""

from __future__ import annotations

import hashlib
import hmac
import uuid
from collections.abc import Iterable

import sqlalchemy as sa
from sqlalchemy.orm import Session


def phone_hmac(phone: str, key: str) -> str:
    """HMAC-SHA256 (hex) of an E.164 number under SERVING_PHONE_HMAC_KEY, which is kept outside the database."""
    return hmac.digest(key.encode(), phone.encode(), hashlib.sha256).hex()


def suppressed(session: Session, phones: Iterable[tuple[uuid.UUID, str]], key: str) -> set[uuid.UUID]:
    """Those contacts (id, E.164 phone) whose number is on the tenant's list."""
    listed = set(session.scalars(sa.text("SELECT phone_hmac FROM unsubscribers")))
    if not listed:
        return set()
    return {contact_id for contact_id, phone in phones if phone_hmac(phone, key) in listed}


def suppressed_among(session: Session, phones: dict[uuid.UUID, str], key: str) -> set[uuid.UUID]:
    """As `suppressed`, asked for a few contacts: reads only their entries of the list."""
    by_hmac = {phone_hmac(phone, key): contact_id for contact_id, phone in phones.items()}
    listed = session.scalars(
        sa.text("SELECT phone_hmac FROM unsubscribers WHERE phone_hmac = ANY(:hmacs)"), {"hmacs": list(by_hmac)}
    )
    return {by_hmac[value] for value in listed}
