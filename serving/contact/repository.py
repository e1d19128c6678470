"""Selects over contacts; row-level security keeps them to the session's tenant."""

from __future__ import annotations

import uuid
from collections.abc import Iterable

import sqlalchemy as sa
from sqlalchemy.orm import Session

from serving.consent.service import PHONE_CHANGED
from serving.contact.schemas import ContactFilter
from serving.models import Consent, Contact, Score

SORTABLE = {
    "created_at": Contact.created_at,
    "updated_at": Contact.updated_at,
    "name": Contact.name,
    "phone": Contact.phone,
    "email": Contact.email,
    "status": Contact.status,
}
# Nobody at a changed number was asked yet.
_ASKED = sa.and_(Consent.purpose == "marketing", Consent.source != PHONE_CHANGED)
_MARKETING = sa.and_(Consent.contact_id == Contact.id, _ASKED)


def by_id(session: Session, contact_id: uuid.UUID, *, lock: bool = False) -> Contact | None:
    statement = sa.select(Contact).where(Contact.id == contact_id)
    if lock:
        # Rows that refer to the contact may still be added: a send in flight adds its message.
        statement = statement.with_for_update(key_share=True).execution_options(populate_existing=True)
    return session.scalar(statement)


def matching(criteria: ContactFilter) -> sa.Select[Contact]:
    statement = sa.select(Contact)
    if criteria.tag:
        statement = statement.where(Contact.tags.contains(criteria.tag))
    if criteria.any_tag:
        statement = statement.where(Contact.tags.overlap(criteria.any_tag))
    for column in ("status", "priority", "source", "language"):
        if (value := getattr(criteria, column)) is not None:
            statement = statement.where(getattr(Contact, column) == value)
    if criteria.created_from is not None:
        statement = statement.where(Contact.created_at >= criteria.created_from)
    if criteria.created_until is not None:
        statement = statement.where(Contact.created_at < criteria.created_until)
    if criteria.score_min is not None:
        scored = sa.exists().where(
            Score.contact_id == Contact.id, Score.model == "lead_scoring", Score.score >= criteria.score_min
        )
        statement = statement.where(scored)
    if criteria.marketing_consent == "none":
        statement = statement.where(~sa.exists().where(_MARKETING))
    elif criteria.marketing_consent is not None:
        statement = statement.where(sa.exists().where(_MARKETING, Consent.status == criteria.marketing_consent))
    return statement


def containing(text: str) -> sa.Select[Contact]:
    """Contacts whose name, e-mail address, phone or own id holds `text`, in any case; digits find phones."""
    conditions = [
        column.icontains(text, autoescape=True) for column in (Contact.name, Contact.email, Contact.external_id)
    ]
    digits = "".join(sign for sign in text if sign.isdigit())
    if digits and not any(sign.isalpha() for sign in text):
        conditions.append(Contact.phone.contains(digits, autoescape=True))
    return sa.select(Contact).where(sa.or_(*conditions))


def marketing_consents(session: Session, contact_ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, str]:
    """Status by contact, for those that have one; a changed number has none."""
    rows = session.execute(
        sa.select(Consent.contact_id, Consent.status).where(_ASKED, Consent.contact_id.in_(list(contact_ids)))
    )
    return {contact_id: status for contact_id, status in rows}
