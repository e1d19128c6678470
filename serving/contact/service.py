"""Contacts: kept once per phone number, and never out of reach of an earlier opt-out."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from gateway.errors import InvalidPhoneNumber
from gateway.types import PhoneNumber
from serving.auth.caller import Caller
from serving.consent import numbers
from serving.consent.suppression import phone_hmac
from serving.contact import erasure, repository
from serving.contact.schemas import ContactCreate, ContactFilter, ContactUpdate
from serving.conversation.service import hold_inbox
from serving.errors import Conflict, NotFound, Unprocessable
from serving.kit.pagination import PageRequest, Pagination, paginate
from serving.models import Consent, ConsentEvent, Contact, ContactIdentity, Erasure, Score, Unsubscriber


class ContactNotFound(NotFound):
    title = "There is no such contact"


class ErasureNotFound(NotFound):
    title = "No contact of this id was erased"


class ContactExists(Conflict):
    title = "A contact with this phone number or external id exists"


class ContactChanged(Conflict):
    title = "The contact was changed by somebody else meanwhile"


class PhoneNumberInvalid(Unprocessable):
    title = "The phone number is not valid"


def create(session: Session, caller: Caller, body: ContactCreate, *, hmac_key: str, now: dt.datetime) -> Contact:
    """The new contact. A number that opted out before starts as opted out.

    Raises: PhoneNumberInvalid, ContactExists.
    """
    phone = _e164(body.phone)
    contact = Contact(tenant_id=caller.tenant_id, known_at=now, **body.model_dump(exclude={"phone"}), phone=phone)
    session.add(contact)
    _flush(session)
    _identify(session, contact, kind="phone", value=phone)
    if contact.external_id is not None:
        _identify(session, contact, kind="external", value=f"{contact.source}:{contact.external_id}")
    _keep_suppressed(session, contact, hmac_key=hmac_key, now=now)
    session.refresh(contact)
    return contact


def get(session: Session, contact_id: uuid.UUID) -> Contact:
    """Raises: ContactNotFound."""
    contact = repository.by_id(session, contact_id)
    if contact is None:
        raise ContactNotFound
    return contact


def update(session: Session, contact_id: uuid.UUID, body: ContactUpdate, *, hmac_key: str, now: dt.datetime) -> Contact:
    """The contact after the change. Another number starts without consent and without an open window: both belong to
    the number that had them. What was allowed before may still leave, for five seconds.

    Raises: ContactNotFound, PhoneNumberInvalid, ContactExists, ContactChanged.
    """
    changes = body.model_dump(exclude_unset=True)
    if "phone" in changes:
        changes["phone"] = _e164(changes["phone"])
    moves = "phone" in changes and get(session, contact_id).phone != changes["phone"]
    if moves:
        # An event from the old number that is being applied would be taken for one from the new.
        hold_inbox(session)
    contact = _locked(session, contact_id)
    if "phone" in changes and (contact.phone != changes["phone"]) != moves:
        raise ContactChanged
    if moves:
        _leave_number(session, contact, hmac_key=hmac_key, now=now)
    for name, value in changes.items():
        setattr(contact, name, value)
    _flush(session)
    if moves:
        _identify(session, contact, kind="phone", value=changes["phone"])
        _keep_suppressed(session, contact, hmac_key=hmac_key, now=now)
    session.refresh(contact)
    return contact


def delete(session: Session, contact_id: uuid.UUID, *, hmac_key: str, redis_url: str, now: dt.datetime) -> None:
    """Erases the person: the contact and all that was said, done and learnt, and the events that told of it. An
    opt-out of the number stays, as its HMAC. What lies outside the database follows; `erasure` tells how far it is.
    See serving.contact.erasure.

    Raises: ContactNotFound; Unavailable when the online store cannot forget, and then nothing is deleted.
    """
    erasure.forget_past_events(session, get(session, contact_id), hmac_key, now)
    erasure.hold(session)
    contact = _locked(session, contact_id)
    _remember_opt_out(session, contact, hmac_key=hmac_key, now=now)
    erasure.forget_events(session, contact, hmac_key, now)
    models = session.scalars(sa.select(Score.model).where(Score.contact_id == contact_id)).all()
    session.execute(sa.delete(Contact).where(Contact.id == contact_id))
    # An import makes the same ids again: who was erased once may have come back.
    told = insert(Erasure).values(tenant_id=contact.tenant_id, contact_id=contact_id, erased_at=now)
    again = {"erased_at": now, "purged_at": None}
    session.execute(told.on_conflict_do_update(index_elements=["tenant_id", "contact_id"], set_=again))
    # Last, and before the commit: what is not erased online must be asked for again.
    erasure.forget_online(redis_url, contact.tenant_id, contact_id, models)


def erasure_of(session: Session, contact_id: uuid.UUID) -> Erasure:
    """Raises: ErasureNotFound."""
    found = session.scalar(sa.select(Erasure).where(Erasure.contact_id == contact_id))
    if found is None:
        raise ErasureNotFound
    return found


def search(session: Session, text: str, request: PageRequest) -> tuple[list[Contact], Pagination]:
    return _page(session, repository.containing(text), request)


def filtered(session: Session, criteria: ContactFilter, request: PageRequest) -> tuple[list[Contact], Pagination]:
    return _page(session, repository.matching(criteria), request)


def add_tags(session: Session, contact_id: uuid.UUID, tags: Sequence[str]) -> Contact:
    """Raises: ContactNotFound, Unprocessable above 100 tags."""
    contact = _locked(session, contact_id)
    merged = sorted({*contact.tags, *tags})
    if len(merged) > 100:
        raise Unprocessable(errors=[{"field": "tags", "message": "a contact has at most 100", "code": "too_many"}])
    contact.tags = merged
    session.flush()
    session.refresh(contact)
    return contact


def remove_tag(session: Session, contact_id: uuid.UUID, tag: str) -> Contact:
    """Without the tag, whether or not it was there. Raises: ContactNotFound."""
    contact = _locked(session, contact_id)
    contact.tags = [kept for kept in contact.tags if kept != tag]
    session.flush()
    session.refresh(contact)
    return contact


def check_phone(
    session: Session, text: str, default_region: str | None
) -> tuple[PhoneNumber | InvalidPhoneNumber, uuid.UUID | None]:
    """The number written in `text`, or what is wrong with it; and the contact that has it."""
    (phone,) = PhoneNumber.parse_many([text], default_region)
    if isinstance(phone, InvalidPhoneNumber):
        return phone, None
    return phone, session.scalar(sa.select(Contact.id).where(Contact.phone == phone.e164))


def _page(session: Session, statement: sa.Select[Contact], request: PageRequest) -> tuple[list[Contact], Pagination]:
    return paginate(
        session, statement, request, sortable=repository.SORTABLE, default_sort="-created_at", tie_break=Contact.id
    )


def _locked(session: Session, contact_id: uuid.UUID) -> Contact:
    contact = repository.by_id(session, contact_id, lock=True)
    if contact is None:
        raise ContactNotFound
    return contact


def _leave_number(session: Session, contact: Contact, *, hmac_key: str, now: dt.datetime) -> None:
    """Parts the contact from what belongs to its number: consent, windows, and the names of who is behind it."""
    _remember_opt_out(session, contact, hmac_key=hmac_key, now=now)
    numbers.withdraw(session, contact.tenant_id, {contact.id: uuid.uuid4().hex}, now, hmac_key)
    numbers.close_windows(session, contact.id)
    session.execute(
        sa.delete(ContactIdentity).where(
            ContactIdentity.contact_id == contact.id, ContactIdentity.kind.in_(["phone", "whatsapp_user_id"])
        )
    )


def _e164(text: str) -> str:
    try:
        return PhoneNumber.parse(text).e164
    except InvalidPhoneNumber as error:
        problem = {"field": "phone", "message": "not a phone number with its country code", "code": error.reason}
        raise PhoneNumberInvalid(errors=[problem]) from error


def _flush(session: Session) -> None:
    try:
        session.flush()
    except IntegrityError as error:
        raise ContactExists from error


def _identify(session: Session, contact: Contact, *, kind: str, value: str) -> None:
    session.add(ContactIdentity(tenant_id=contact.tenant_id, contact_id=contact.id, kind=kind, value=value))
    _flush(session)


def _keep_suppressed(session: Session, contact: Contact, *, hmac_key: str, now: dt.datetime) -> None:
    """Opts the contact out when its number is on the tenant's list."""
    if contact.phone is None:
        return
    listed = session.scalar(
        sa.select(Unsubscriber.date).where(Unsubscriber.phone_hmac == phone_hmac(contact.phone, hmac_key))
    )
    if listed is None:
        return
    values = {
        "tenant_id": contact.tenant_id, "contact_id": contact.id, "purpose": "marketing", "status": "opted_out",
        "source": "suppression_list",
    }  # fmt: skip
    upsert = insert(Consent).values(**values, effective_at=listed)
    session.execute(
        upsert.on_conflict_do_update(
            index_elements=["tenant_id", "contact_id", "purpose"],
            set_={"status": "opted_out", "source": "suppression_list", "effective_at": listed},
        )
    )
    # A contact may come back to the same number: one event for each time it is found on the list.
    key = f"suppression_list:{contact.id}:{now.isoformat()}"
    session.execute(insert(ConsentEvent).values(**values, event_key=key, occurred_at=listed, known_at=now))


def _remember_opt_out(session: Session, contact: Contact, *, hmac_key: str, now: dt.datetime) -> None:
    opted_out = repository.marketing_consents(session, [contact.id]).get(contact.id) == "opted_out"
    if contact.phone is None or not opted_out:
        return
    values = {"tenant_id": contact.tenant_id, "phone_hmac": phone_hmac(contact.phone, hmac_key)}
    entry = insert(Unsubscriber).values(**values, reason="opted_out_before_removal", date=now)
    session.execute(entry.on_conflict_do_nothing(index_elements=["tenant_id", "phone_hmac"]))
