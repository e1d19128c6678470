"""The demo's business: made once, its key kept in RAPPORT_HOME."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from orchestration.demo.simulator import PastCampaign
from orchestration.runtime.environment import admin_database_url
from orchestration.runtime.home import Home, write_atomically

SLUG = "demo"
NUMBER_ID = "100000000000001"
ACCOUNT_ID = "200000000000001"
PHONE = "+999100000001"
MESSAGES_PER_SECOND = 500
MODEL_INPUTS = {
    "contact": {},
    "campaign": {"category": "category", "offer_type": "category", "discount_rate": "number"},
}


@dataclass(frozen=True)
class DemoTenant:
    tenant_id: uuid.UUID
    slug: str
    username: str
    password: str | None
    api_key: str
    is_new: bool


def ensure(home: Home, now: dt.datetime) -> DemoTenant:
    """The demo's tenant, made if this installation has none. Its zone is one where it is day: quiet hours hold for
    simulated people too and would put the demo's campaign off until morning."""
    from serving.tenant.service import create_tenant

    admin = admin_database_url(home)
    kept = home.path / "demo.json"
    with psycopg.connect(admin) as connection:
        found = connection.execute("SELECT id FROM tenants WHERE slug = %s", (SLUG,)).fetchone()
    if found and kept.exists():
        secrets: dict[str, Any] = json.loads(kept.read_text())
        # Demos of before took the password from the key that signs access tokens.
        if secrets["password"] and home.secrets()["jwt"].startswith(secrets["password"]):
            home.renew_secret("jwt")
        tenant = DemoTenant(found[0], SLUG, secrets["username"], secrets["password"], secrets["api_key"], is_new=False)
    elif found:
        raise DemoTenantForeign(
            f"a tenant {SLUG!r} exists, but not from this RAPPORT_HOME; rename it, or use another database"
        )
    else:
        made = create_tenant(
            admin,
            slug=SLUG,
            name="Demo roastery",
            admin_email="owner@demo.example",
            timezone=zone_by_day(now),
            settings={"simulated": True, "model_inputs": MODEL_INPUTS},
            backfilled_until=now,
            phone=PHONE,
            provider_number_id=NUMBER_ID,
            business_account_id=ACCOUNT_ID,
        )
        tenant = DemoTenant(made.tenant_id, SLUG, made.username, made.password, made.api_key, is_new=True)
        secrets = {"username": tenant.username, "password": tenant.password, "api_key": tenant.api_key}
        write_atomically(kept, json.dumps(secrets, indent=1))
    with psycopg.connect(admin) as connection:
        connection.execute("UPDATE tenants SET timezone = %s WHERE id = %s", (zone_by_day(now), tenant.tenant_id))
        # The simulator takes what Meta lets a proven number send.
        connection.execute(
            "UPDATE phone_numbers SET messages_per_second = %s WHERE tenant_id = %s",
            (MESSAGES_PER_SECOND, tenant.tenant_id),
        )
    return tenant


def record_past(
    home: Home, tenant: DemoTenant, campaigns: Sequence[PastCampaign]
) -> list[tuple[uuid.UUID, PastCampaign]]:
    """The campaigns the business ran before it came, each with its id; recorded as completed, once."""
    found = [(uuid.uuid5(tenant.tenant_id, campaign.external_id), campaign) for campaign in campaigns]
    rows = [
        (
            tenant.tenant_id,
            campaign_id,
            past.external_id,
            past.name,
            past.text,
            Jsonb(past.attributes),
            *[past.sent_at] * 3,
        )
        for campaign_id, past in found
    ]
    with psycopg.connect(admin_database_url(home)) as connection, connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO campaigns (tenant_id, id, external_id, name, message_template, attributes, start_date,"
            " end_date, known_at, status) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, 'completed')"
            " ON CONFLICT DO NOTHING",
            rows,
        )
    return found


class DemoTenantForeign(Exception):
    """Another installation's demo tenant lives in this database."""

    code = 2


def zone_by_day(now: dt.datetime) -> str:
    """A fixed-offset zone in which `now` (UTC) lies between 9 and 19 o'clock: UTC itself where it does."""
    hour = now.astimezone(dt.UTC).hour
    if 9 <= hour < 19:
        return "UTC"
    east = (13 - hour + 11) % 24 - 11
    # POSIX names count westward: Etc/GMT-3 is three hours east of Greenwich.
    return f"Etc/GMT{-east:+d}"
