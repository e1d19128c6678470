from __future__ import annotations

import datetime as dt
import json
import uuid
import zoneinfo
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

MAX_CUSTOM_DATA_BYTES = 16_384


def _time_zone(value: str) -> str:
    try:
        zoneinfo.ZoneInfo(value)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError("not an IANA time zone") from error
    return value


def _small(value: dict[str, Any]) -> dict[str, Any]:
    if len(json.dumps(value, ensure_ascii=False).encode(errors="replace")) > MAX_CUSTOM_DATA_BYTES:
        raise ValueError(f"larger than {MAX_CUSTOM_DATA_BYTES} bytes")
    return value


def _trimmed(value: str) -> str:
    trimmed = value.strip()
    if not trimmed:
        raise ValueError("empty")
    return trimmed


def _addressable(value: str) -> str:
    # Clients take these out of a path, even where they are escaped.
    if any(part in (".", "..") for part in value.split("/")):
        raise ValueError('"." and ".." are no tags, nor parts of one')
    return value


def _without_default(schema: dict[str, Any]) -> None:
    # The default stands for "not given" and is no phone number itself.
    schema.pop("default", None)


def _distinct(tags: list[str]) -> list[str]:
    return sorted(set(tags))


Phone = Annotated[str, Field(min_length=3, max_length=40, description="With its country code; kept as E.164")]
Name = Annotated[str, Field(max_length=200)]
Email = Annotated[str, Field(max_length=320, pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$")]
Language = Annotated[str, Field(pattern=r"^[a-z]{2,3}([-_][A-Za-z0-9]{2,8})*$", max_length=35)]
TimeZone = Annotated[str, Field(max_length=64), AfterValidator(_time_zone)]
Tag = Annotated[str, Field(max_length=64), AfterValidator(_trimmed), AfterValidator(_addressable)]
Tags = Annotated[list[Tag], Field(max_length=100), AfterValidator(_distinct)]
CustomData = Annotated[dict[str, Any], AfterValidator(_small)]
Priority = Literal["low", "normal", "high"]
Status = Literal["active", "archived", "unreachable"]
MarketingConsent = Literal["opted_in", "opted_out", "none"]


class ContactCreate(BaseModel):
    model_config = ConfigDict(extra="forbid")

    phone: Phone
    name: Name | None = None
    email: Email | None = None
    language: Language | None = None
    timezone: TimeZone | None = None
    tags: Tags = []
    custom_data: CustomData = {}
    priority: Priority = "normal"
    source: Annotated[str, Field(min_length=1, max_length=64)] = "api"
    external_id: Annotated[str, Field(min_length=1, max_length=200)] | None = None


class ContactUpdate(BaseModel):
    """Only what is given changes; null empties a field that may be empty."""

    model_config = ConfigDict(extra="forbid")

    phone: Annotated[Phone, Field(json_schema_extra=_without_default)] = ""
    name: Name | None = None
    email: Email | None = None
    language: Language | None = None
    timezone: TimeZone | None = None
    tags: Tags = []
    custom_data: CustomData = {}
    priority: Priority = "normal"
    status: Status = "active"


class ContactRead(BaseModel):
    """`marketing_consent` is what the contact agreed to; "none" means that it was never asked."""

    model_config = ConfigDict(from_attributes=True)

    id: uuid.UUID
    phone: str | None
    name: str | None
    email: str | None
    language: str | None
    timezone: str | None
    tags: list[str]
    custom_data: dict[str, Any]
    priority: Priority
    source: str
    external_id: str | None
    status: Status
    marketing_consent: MarketingConsent
    created_at: dt.datetime
    updated_at: dt.datetime


class ErasureRead(BaseModel):
    """`erased_at`: the product no longer knows the contact. `purged_at`: nor do the warehouse, the training sets, the
    analysts' files and the rejected rows of imports; null until then. Backups are not touched."""

    model_config = ConfigDict(from_attributes=True)

    contact_id: uuid.UUID
    erased_at: dt.datetime
    purged_at: dt.datetime | None


class TagsAdd(BaseModel):
    model_config = ConfigDict(extra="forbid")

    tags: Annotated[Tags, Field(min_length=1)]


class ContactFilter(BaseModel):
    """Criteria of which all must hold. `score_min` is the current lead score, 0-100."""

    tag: list[str] = []
    any_tag: list[str] = []
    status: Status | None = None
    priority: Priority | None = None
    source: str | None = None
    language: str | None = None
    marketing_consent: MarketingConsent | None = None
    score_min: float | None = None
    created_from: AwareDatetime | None = None
    created_until: AwareDatetime | None = None


class PhoneCheck(BaseModel):
    model_config = ConfigDict(extra="forbid")

    phone: Annotated[str, Field(max_length=40)]
    default_region: Annotated[str, Field(pattern=r"^[A-Z]{2}$")] | None = None


class PhoneCheckRead(BaseModel):
    """`phone` is E.164 when valid, else `reason` says why not. WhatsApp is not asked whether it has an account."""

    valid: bool
    phone: str | None = None
    reason: str | None = None
    contact_id: uuid.UUID | None = None
