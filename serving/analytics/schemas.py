from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

from pydantic import BaseModel


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


class DashboardRead(BaseModel):
    """As of `as_of`. A day is the tenant's: `today_began_at` is its midnight, in UTC."""

    as_of: dt.datetime
    timezone: str
    today_began_at: dt.datetime
    active_conversations: int
    messages_today: MessagesRead
    campaigns: CampaignsRead
    hot_leads: int
    today: RevenueRead
    last_30_days: RevenueRead


class HotLeadRead(BaseModel):
    contact_id: uuid.UUID
    name: str | None
    phone: str | None
    score: float
    probability: float
    tier: str
    reasons: dict[str, Any]
    model_version: str
    scored_at: dt.datetime
    marketing_consent: str


class HotLeadsRead(BaseModel):
    """`total` counts every hot lead; `leads` are the best of them. By `model_version` "rule" no model was involved."""

    threshold: float
    total: int
    leads: list[HotLeadRead]
