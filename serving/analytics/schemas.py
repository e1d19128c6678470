"""Answers of the analytics routes. A rate is a share of 1, null when its divisor is 0; money is in cents."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float | None, Field(description="Share of 1; null when its divisor is 0")]
Seconds = Annotated[float | None, Field(description="Seconds; null when nothing was measured")]
Cents = Annotated[int, Field(description="Cents of the currency")]
CentsOrNone = Annotated[int | None, Field(description="Cents of the currency; null when not known")]


class SetAsideRead(BaseModel):
    """Rows of an operational table that are in no figure, and what is wrong with them."""

    model_config = ConfigDict(from_attributes=True)

    table: str
    reason: str
    rows: int


class PublishedRead(BaseModel):
    """Which snapshot of the warehouse the figures are: true for `as_of`, readable since `published_at` (both UTC).
    Late ones are older than the hourly refresh allows, at the time of the answer, and `late_reason` says why."""

    model_config = ConfigDict(from_attributes=True)

    snapshot_id: str
    as_of: dt.datetime
    published_at: dt.datetime
    is_late: bool
    late_reason: Annotated[str | None, Field(description="Null when the figures are not late")]
    set_aside: Annotated[list[SetAsideRead], Field(description="What the figures leave out, as of `published_at`")]


class RangeRead(BaseModel):
    """Local dates of the tenant's time zone, both included."""

    model_config = ConfigDict(populate_by_name=True)

    first: Annotated[dt.date, Field(alias="from")]
    last: Annotated[dt.date, Field(alias="to")]
    timezone: str


class PublishedFigures(PublishedRead):
    range: RangeRead


class MessageCounts(BaseModel):
    """Outbound messages count on the day and hour of their send; `received` are inbound ones."""

    sent: int
    delivered: int
    read: int
    failed: int
    replied: Annotated[int, Field(description="Messages of ours that were answered")]
    received: int


class MessageTotals(MessageCounts):
    delivery_rate: Share
    read_rate: Share
    response_rate: Share


class DayMessages(MessageTotals):
    date: dt.date


class HourVolume(MessageCounts):
    hour_at: Annotated[dt.datetime, Field(description="Beginning of the hour, UTC")]
    date: Annotated[dt.date, Field(description="Local date")]
    hour: Annotated[int, Field(description="Local hour, 0-23")]


class HourOfDay(BaseModel):
    """All days of the range together."""

    hour: Annotated[int, Field(description="Local hour, 0-23")]
    sent: int
    received: int


class MessagesFigures(PublishedFigures):
    """`by_day` has the days on which a message was sent or came in."""

    totals: MessageTotals
    by_day: list[DayMessages]
    peak_hour: Annotated[
        int | None, Field(description="Local hour with most messages either way; null when there were none")
    ]


class HourlyFigures(PublishedFigures):
    """`hours` are those in which something happened; `by_hour_of_day` has all 24."""

    hours: list[HourVolume]
    by_hour_of_day: list[HourOfDay]
    peak_hour: Annotated[int | None, Field(description="Local hour with most messages either way")]


class CampaignFigures(BaseModel):
    """A campaign's whole life, not only the days asked for: a later delivery or reply belongs to its send. One that the
    published marts do not have yet is counted `live`, as of now, without what only the warehouse works out: its cost,
    ROI, incremental revenue and uplift are null."""

    source: Literal["published", "live"]
    as_of: dt.datetime
    campaign_id: uuid.UUID
    name: str
    type: str
    status: str
    first_sent_at: dt.datetime | None
    last_sent_at: dt.datetime | None
    eligible: Annotated[int, Field(description="People the segment held, sent to or held out")]
    held_out: int
    suppressed: int
    sent: int
    delivered: int
    read: int
    failed: int
    replied: int
    opted_out: int
    converted: int
    currency: str | None
    attributed_revenue_cents: CentsOrNone
    incremental_revenue_cents: Annotated[
        int | None, Field(description="Cents beyond what the held out make expect; null without a holdout")
    ]
    cost_cents: CentsOrNone
    delivery_rate: Share
    read_rate: Share
    response_rate: Share
    conversion_rate: Share
    roi: Annotated[float | None, Field(description="(revenue - cost) / cost; null when no cost is known")]
    uplift: Annotated[
        float | None, Field(description="Share of people who ordered, treated minus held out; null without a holdout")
    ]
    uplift_low: Annotated[float | None, Field(description="Lower end of the 95 % interval")]
    uplift_high: Annotated[float | None, Field(description="Upper end of the 95 % interval")]
    uplift_is_significant: bool | None


class CampaignTotals(BaseModel):
    campaigns: int
    sent: int
    delivered: int
    read: int
    failed: int
    replied: int
    opted_out: int
    converted: int
    delivery_rate: Share
    read_rate: Share
    response_rate: Share
    conversion_rate: Share


class CampaignsFigures(PublishedFigures):
    """Campaigns that sent between the two days; `totals` are over all of them, `campaigns` the latest `limit`."""

    totals: CampaignTotals
    campaigns: list[CampaignFigures]


class EngagementTotals(BaseModel):
    received: int
    replied: int
    active_contacts: Annotated[int, Field(description="People with a sign of life; of a range, summed over its days")]
    conversations: Annotated[int, Field(description="Conversations with a message; of a range, summed over its days")]
    response_seconds_mean: Annotated[Seconds, Field(description="Seconds from our message to the answer")]
    reply_characters_mean: Annotated[float | None, Field(description="Characters; null without a text")]
    conversation_seconds_mean: Annotated[Seconds, Field(description="Seconds from a day's first message to its last")]
    engagement_score: Annotated[
        float | None, Field(description="0-100: 50 x read/delivered + 50 x replied/sent; null when nothing was sent")
    ]


class EngagementDay(EngagementTotals):
    date: dt.date


class EngagementFigures(PublishedFigures):
    totals: EngagementTotals
    by_day: list[EngagementDay]


class RevenueTotals(BaseModel):
    """Orders of one currency; cancelled ones have no revenue. `attributed` ones followed a campaign's send."""

    currency: Annotated[str, Field(description="ISO 4217")]
    orders: int
    cancelled_orders: int
    revenue_cents: Cents
    attributed_orders: int
    attributed_revenue_cents: Cents


class UsageTotals(BaseModel):
    """Billing's days are UTC dates, unlike all others here."""

    api_calls: int
    messages_sent: int


class ReportPeriod(BaseModel):
    """Everything about one range of days."""

    range: RangeRead
    messages: MessageTotals
    engagement: EngagementTotals
    campaigns: CampaignTotals
    revenue: list[RevenueTotals]
    usage: UsageTotals


class ReportRead(PublishedRead):
    """A period beside the one before it. `changes` are relative (0.1 = 10 % more), null from nothing."""

    period: Literal["daily", "weekly", "monthly", "custom"]
    current: ReportPeriod
    previous: ReportPeriod
    changes: dict[str, float | None]
    top_campaigns: Annotated[list[CampaignFigures], Field(description="Of the current period, the latest ten")]


class MessagesRead(BaseModel):
    inbound: int
    outbound: int


class CampaignsRead(BaseModel):
    total: int
    running: int
    scheduled: int
    paused: int


class RevenueRead(BaseModel):
    """Cents by currency (ISO 4217); cancelled orders are left out."""

    orders: int
    revenue_cents: dict[str, int]


class ApiUsageRead(BaseModel):
    """Calls by UTC day, counted up to some seconds ago."""

    calls_today: int
    calls_last_30_days: int


class DashboardRead(BaseModel):
    """As of `as_of`, straight from the operational tables. A day is the tenant's: `today_began_at` is its midnight, in
    UTC. `published` tells which snapshot the other analytics routes show, null before the first."""

    as_of: dt.datetime
    timezone: str
    today_began_at: dt.datetime
    active_conversations: int
    messages_today: MessagesRead
    campaigns: CampaignsRead
    hot_leads: int
    today: RevenueRead
    last_30_days: RevenueRead
    api_usage: ApiUsageRead
    published: PublishedRead | None


class HotLeadRead(BaseModel):
    """Score, consent and person as they are now; what the lead did, as published, null for one not in the marts."""

    contact_id: uuid.UUID
    name: str | None
    phone: str | None
    score: Annotated[float, Field(description="0-100")]
    probability: Annotated[float, Field(description="Share of 1, calibrated")]
    tier: str
    reasons: dict[str, Any]
    model_version: str
    scored_at: dt.datetime
    marketing_consent: str
    last_inbound_at: dt.datetime | None = None
    last_order_at: dt.datetime | None = None
    orders_90d: int | None = None
    revenue_90d_cents: CentsOrNone = None


class HotLeadsRead(BaseModel):
    """`total` counts every hot lead; `leads` are the best of them. By `model_version` "rule" no model was involved."""

    as_of: dt.datetime
    threshold: float
    total: int
    leads: list[HotLeadRead]
    published: PublishedRead | None
