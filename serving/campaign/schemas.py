from __future__ import annotations

import datetime as dt
import json
import uuid
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

CampaignType = Literal["broadcast", "drip", "nurture", "followup"]
CampaignStatus = Literal["draft", "scheduled", "running", "paused", "completed", "stopped"]
ConversionEvent = Literal["order", "redemption"]
AttributeValue = str | int | float | bool | list[str]
MAX_ATTRIBUTES_BYTES = 8_192


def _small(value: dict[str, AttributeValue]) -> dict[str, AttributeValue]:
    if len(json.dumps(value).encode(errors="replace")) > MAX_ATTRIBUTES_BYTES:
        raise ValueError(f"larger than {MAX_ATTRIBUTES_BYTES} bytes")
    return value


Attributes = Annotated[
    dict[Annotated[str, Field(max_length=64)], AttributeValue],
    AfterValidator(_small),
    Field(
        description="Facts of the offer, known before a send and inputs of the models: numbers, words, sets of words"
    ),
]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Text = Annotated[str, Field(min_length=1, max_length=4096, description="{{name}} becomes the contact's name")]


def _available(value: str | None) -> str | None:
    if value not in (None, "broadcast"):
        raise ValueError(f"{value} campaigns cannot be sent yet; broadcast can")
    return value


AvailableType = Annotated[CampaignType, AfterValidator(_available)]


def _in_calendar(value: dt.datetime) -> dt.datetime:
    if not 1900 <= value.year <= 2999:
        raise ValueError("no campaign starts or ends in that year")
    return value


Moment = Annotated[AwareDatetime, AfterValidator(_in_calendar)]


class CampaignCreate(BaseModel):
    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    name: Name
    type: AvailableType = "broadcast"
    message_template: Text
    template_name: Annotated[
        str | None, Field(max_length=512, description="An approved template of the provider's")
    ] = None
    template_language: Annotated[str, Field(min_length=2, max_length=15)] = "en"
    attributes: Attributes = {}
    conversion_event: ConversionEvent = "order"
    attribution_seconds: Annotated[int, Field(ge=3_600, le=30 * 86_400)] = 604_800
    holdout_rate: Annotated[float, Field(ge=0, lt=1, description="Share of the eligible who are not sent to")] = 0.0
    segment_id: uuid.UUID | None = None
    phone_number_id: uuid.UUID | None = None
    start_date: Moment | None = None
    end_date: Moment | None = None


class CampaignUpdate(BaseModel):
    """Only the fields given are changed."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    name: Name | None = None
    type: AvailableType | None = None
    message_template: Text | None = None
    template_name: Annotated[str | None, Field(max_length=512)] = None
    template_language: Annotated[str | None, Field(min_length=2, max_length=15)] = None
    attributes: Attributes | None = None
    conversion_event: ConversionEvent | None = None
    attribution_seconds: Annotated[int | None, Field(ge=3_600, le=30 * 86_400)] = None
    holdout_rate: Annotated[float | None, Field(ge=0, lt=1)] = None
    segment_id: uuid.UUID | None = None
    phone_number_id: uuid.UUID | None = None
    start_date: Moment | None = None
    end_date: Moment | None = None


class CampaignSchedule(BaseModel):
    model_config = ConfigDict(extra="forbid")

    start_date: Moment
    end_date: Moment | None = None


class CampaignDuplicate(BaseModel):
    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    campaign_id: uuid.UUID
    name: Name | None = None


class CampaignRead(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: uuid.UUID
    name: str
    type: CampaignType
    status: CampaignStatus
    status_reason: str | None
    message_template: str
    template_name: str | None
    template_language: str
    attributes: dict[str, Any]
    conversion_event: ConversionEvent
    attribution_seconds: int
    holdout_rate: float
    segment_id: uuid.UUID | None
    phone_number_id: uuid.UUID | None
    start_date: AwareDatetime | None
    end_date: AwareDatetime | None
    created_at: AwareDatetime
    updated_at: AwareDatetime


class CampaignPlanRead(BaseModel):
    """What starting decided: `eligible` = `queued` + `held_out`; `suppressed` counts people by reason."""

    model_config = ConfigDict(from_attributes=True)

    eligible: int
    held_out: int
    queued: int
    suppressed: dict[str, int]


class CampaignStarted(BaseModel):
    """With `dry_run` nothing was changed: the campaign is as it was, and the plan is what starting now would decide."""

    dry_run: bool
    campaign: CampaignRead
    plan: CampaignPlanRead


class CampaignStats(BaseModel):
    """People and messages of one campaign up to now, by the definitions of the analytics' figures. `suppressed` counts
    people by reason, `states` messages of the outbox. Rates are shares of 1, null where there is nothing to divide by:
    delivered / sent, read / delivered, replied / sent, converted / sent, and of each group the people who ordered."""

    eligible: int
    held_out: int
    treated: int
    suppressed: dict[str, int]
    states: dict[str, int]
    unknown: int
    sent: int
    delivered: int
    read: int
    failed: int
    replied: int
    opted_out: int
    converted: int
    treated_ordered: int
    held_out_ordered: int
    delivery_rate: float | None
    read_rate: float | None
    response_rate: float | None
    conversion_rate: float | None
    treated_order_rate: float | None
    held_out_order_rate: float | None


class TemplateRead(BaseModel):
    """A template the tenant's campaigns have used."""

    template_name: str
    template_language: str
    campaigns: int
    last_used_at: AwareDatetime | None
