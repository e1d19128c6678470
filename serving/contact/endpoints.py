from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import AwareDatetime
from sqlalchemy.orm import Session

from gateway.errors import InvalidPhoneNumber
from serving.auth.dependencies import ContactsRead, ContactsWrite, SessionDep
from serving.auth.route import Route
from serving.contact import repository, service
from serving.contact.schemas import (
    ContactCreate,
    ContactFilter,
    ContactRead,
    ContactUpdate,
    ErasureRead,
    MarketingConsent,
    PhoneCheck,
    PhoneCheckRead,
    Priority,
    Status,
    TagsAdd,
)
from serving.contact.service import (
    ContactChanged,
    ContactExists,
    ContactNotFound,
    ErasureNotFound,
    PhoneNumberInvalid,
)
from serving.errors import Unavailable, problems
from serving.kit.clock import NowDep
from serving.kit.dependencies import SettingsDep
from serving.kit.pagination import Page, PageRequestDep
from serving.models import Contact

router = APIRouter(prefix="/contacts", tags=["contacts"], route_class=Route)
WRITE_PROBLEMS = problems(ContactExists, PhoneNumberInvalid)
Tags = Annotated[list[str] | None, Query(max_length=20)]


async def _criteria(
    tag: Tags = None,
    any_tag: Tags = None,
    status: Status | None = None,
    priority: Priority | None = None,
    source: str | None = None,
    language: str | None = None,
    marketing_consent: MarketingConsent | None = None,
    score_min: Annotated[float | None, Query(ge=0, le=100, description="Current lead score")] = None,
    created_from: AwareDatetime | None = None,
    created_until: AwareDatetime | None = None,
) -> ContactFilter:
    return ContactFilter(
        tag=tag or [], any_tag=any_tag or [], status=status, priority=priority, source=source, language=language,
        marketing_consent=marketing_consent, score_min=score_min, created_from=created_from,
        created_until=created_until,
    )  # fmt: skip


CriteriaDep = Annotated[ContactFilter, Depends(_criteria)]


@router.post("/", status_code=201, responses=WRITE_PROBLEMS)
def create(
    body: ContactCreate, caller: ContactsWrite, session: SessionDep, settings: SettingsDep, now: NowDep
) -> ContactRead:
    """A new contact; its number starts as opted out if it opted out before."""
    key = settings.phone_hmac_key.get_secret_value()
    return _read(session, service.create(session, caller, body, hmac_key=key, now=now))


@router.get("/")
def list_contacts(
    _caller: ContactsRead,
    session: SessionDep,
    page: PageRequestDep,
    status: Status | None = None,
    tag: Tags = None,
) -> Page[ContactRead]:
    """A page of contacts, newest first."""
    contacts, pagination = service.filtered(session, ContactFilter(status=status, tag=tag or []), page)
    return Page(items=_read_all(session, contacts), pagination=pagination)


# The fixed paths stand before /{id}, which would read them as ids.
@router.get("/search")
def search(
    _caller: ContactsRead,
    session: SessionDep,
    page: PageRequestDep,
    q: Annotated[str, Query(min_length=2, max_length=100)],
) -> Page[ContactRead]:
    """Contacts whose name, e-mail address, phone or external id contains the text."""
    contacts, pagination = service.search(session, q, page)
    return Page(items=_read_all(session, contacts), pagination=pagination)


@router.get("/filter")
def filter_contacts(
    _caller: ContactsRead,
    session: SessionDep,
    page: PageRequestDep,
    criteria: Annotated[ContactFilter, Depends(_criteria)],
) -> Page[ContactRead]:
    """Contacts that meet every criterion given."""
    contacts, pagination = service.filtered(session, criteria, page)
    return Page(items=_read_all(session, contacts), pagination=pagination)


@router.post("/validate-phone")
def validate_phone(body: PhoneCheck, _caller: ContactsRead, session: SessionDep) -> PhoneCheckRead:
    """Whether the text is a possible phone number, how it is kept, and which contact has it."""
    phone, contact_id = service.check_phone(session, body.phone, body.default_region)
    if isinstance(phone, InvalidPhoneNumber):
        return PhoneCheckRead(valid=False, reason=phone.reason)
    return PhoneCheckRead(valid=True, phone=phone.e164, contact_id=contact_id)


@router.get("/erasures/{id}", responses=problems(ErasureNotFound))
def erasure(id: uuid.UUID, _caller: ContactsRead, session: SessionDep) -> ErasureRead:
    """When the contact of this id was erased, and when the last copy of what was known of it was gone."""
    return ErasureRead.model_validate(service.erasure_of(session, id))


@router.get("/{id}", responses=problems(ContactNotFound))
def get(id: uuid.UUID, _caller: ContactsRead, session: SessionDep) -> ContactRead:
    return _read(session, service.get(session, id))


@router.put("/{id}", responses=problems(ContactNotFound, ContactExists, ContactChanged, PhoneNumberInvalid))
def update(
    id: uuid.UUID, body: ContactUpdate, _caller: ContactsWrite, session: SessionDep, settings: SettingsDep, now: NowDep
) -> ContactRead:
    """The contact after the change; what is not given stays as it is. Another phone number starts without consent."""
    key = settings.phone_hmac_key.get_secret_value()
    return _read(session, service.update(session, id, body, hmac_key=key, now=now))


@router.delete("/{id}", status_code=204, responses=problems(ContactNotFound, Unavailable))
def delete(
    request: Request, id: uuid.UUID, _caller: ContactsWrite, session: SessionDep, settings: SettingsDep, now: NowDep
) -> Response:
    """Erases the person: contact, conversations, orders, features and scores. An opt-out is kept as a digest. The
    warehouse and the files made of it follow; `Location` tells where to ask how far that is."""
    key = settings.phone_hmac_key.get_secret_value()
    service.delete(session, id, hmac_key=key, redis_url=settings.redis_url, now=now)
    return Response(status_code=204, headers={"Location": str(request.url_for("erasure", id=str(id)).path)})


@router.post("/{id}/tags", responses=problems(ContactNotFound))
def add_tags(id: uuid.UUID, body: TagsAdd, _caller: ContactsWrite, session: SessionDep) -> ContactRead:
    return _read(session, service.add_tags(session, id, body.tags))


@router.delete("/{id}/tags/{tag:path}", responses=problems(ContactNotFound))
def remove_tag(
    id: uuid.UUID, tag: Annotated[str, Path(max_length=64)], _caller: ContactsWrite, session: SessionDep
) -> ContactRead:
    """The contact without the tag, whether or not it had it. A slash in the tag may be sent as it is or as %2F."""
    return _read(session, service.remove_tag(session, id, tag))


def _read(session: Session, contact: Contact) -> ContactRead:
    return _read_all(session, [contact])[0]


def _read_all(session: Session, contacts: Sequence[Contact]) -> list[ContactRead]:
    consents = repository.marketing_consents(session, [contact.id for contact in contacts])
    for contact in contacts:
        contact.marketing_consent = consents.get(contact.id, "none")  # type: ignore[attr-defined]
    return [ContactRead.model_validate(contact) for contact in contacts]
