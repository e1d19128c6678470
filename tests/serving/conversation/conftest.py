"""Webhook bodies as the provider writes them, and a tenant whose inbox takes them."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field

import psycopg
import pytest

from gateway.driver import NumberConfig
from gateway.registry import build_driver
from serving.conversation.service import ProcessedBatch, process_all
from serving.kit.database import Database
from serving.webhook.receiver import inbox_rows

DRIVER = build_driver("cloud_api", NumberConfig("http://127.0.0.1:1", "10", "token", "secret", "verify"))
T0 = dt.datetime(2026, 3, 2, 10, tzinfo=dt.UTC)


@dataclass
class Inbox:
    """Puts events into one tenant's inbox, in any order, and processes them."""

    database: Database
    admin: str
    tenant_id: uuid.UUID
    number: str
    _received: Iterator[int] = field(default_factory=itertools.count)

    def receive(self, *items: dict) -> int:
        """How many of the events were new."""
        stored = 0
        for item in items:
            field_name, key = item.pop("_field"), item.pop("_key")
            value = {
                "messaging_product": "whatsapp",
                "metadata": {"phone_number_id": self.number},
                "contacts": [],
                key: [item],
            }
            change = {"field": field_name, "value": value}
            item |= {"_field": field_name, "_key": key}
            body = json.dumps({"object": "whatsapp_business_account", "entry": [{"id": "1", "changes": [change]}]})
            stored += self.store(body.encode())
        return stored

    def store(self, body: bytes) -> int:
        stored = 0
        with psycopg.connect(self.admin) as connection:
            for row in inbox_rows(DRIVER, body):
                received_at = dt.datetime.now(dt.UTC) + dt.timedelta(microseconds=next(self._received))
                stored += connection.execute(
                    "INSERT INTO inbound_events (tenant_id, event_key, kind, provider_number_id, occurred_at,"
                    " received_at,"
                    " payload) VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
                    (
                        self.tenant_id,
                        row.event_key,
                        row.kind,
                        row.provider_number_id,
                        row.occurred_at,
                        received_at,
                        row.payload,
                    ),
                ).rowcount
        return stored

    def process(self, limit: int = 5000, now: dt.datetime | None = None) -> ProcessedBatch:
        return process_all(self.database, self.tenant_id, now or dt.datetime.now(dt.UTC), limit, phone_key="key")

    def all(self, query: str, *parameters: object) -> list[tuple]:
        """Rows of this tenant: the query is run under its rights."""
        with psycopg.connect(self.database.url) as connection:
            connection.execute("SELECT set_config('app.tenant_id', %s, true)", (str(self.tenant_id),))
            return connection.execute(query, parameters).fetchall()

    def add_campaign(self, attribution_seconds: int = 7 * 86_400) -> uuid.UUID:
        campaign_id = uuid.uuid4()
        with psycopg.connect(self.admin) as connection:
            connection.execute(
                "INSERT INTO campaigns (tenant_id, id, name, message_template, attribution_seconds) VALUES (%s, %s,"
                " 'C', 'Hi', %s)",
                (self.tenant_id, campaign_id, attribution_seconds),
            )
        return campaign_id


def stamp(at: dt.datetime) -> str:
    return str(int(at.timestamp()))


def text(wamid: str, sender: str, body: str, at: dt.datetime = T0, quotes: str | None = None) -> dict:
    item = {"id": wamid, "from": sender, "timestamp": stamp(at), "type": "text", "text": {"body": body}}
    if quotes:
        item["context"] = {"id": quotes}
    return item | {"_field": "messages", "_key": "messages"}


def order(wamid: str, sender: str, at: dt.datetime = T0) -> dict:
    items = [
        {"product_retailer_id": "beans", "quantity": 2, "item_price": 4.5, "currency": "EUR"},
        {"product_retailer_id": "mug", "quantity": 1, "item_price": 12, "currency": "EUR"},
    ]
    item = {"id": wamid, "from": sender, "timestamp": stamp(at), "type": "order"}
    return item | {"order": {"catalog_id": "1", "product_items": items}, "_field": "messages", "_key": "messages"}


def echo(wamid: str, to: str, at: dt.datetime = T0, body: str = "An offer") -> dict:
    item = {"id": wamid, "from": "1", "to": to, "timestamp": stamp(at), "type": "text", "text": {"body": body}}
    return item | {"_field": "smb_message_echoes", "_key": "message_echoes"}


def status(
    wamid: str, word: str, at: dt.datetime = T0, to: str = "999100000009", callback: str | None = None, code: int = 0
) -> dict:
    item = {"id": wamid, "status": word, "timestamp": stamp(at), "recipient_id": to}
    if callback:
        item["biz_opaque_callback_data"] = callback
    if code:
        item["errors"] = [{"code": code, "title": "refused"}]
    return item | {"_field": "messages", "_key": "statuses"}


@pytest.fixture
def make_inbox(database):
    opened = Database(database.worker, pool_size=3)

    def make(**columns) -> Inbox:
        tenant_id = database.add_tenant(**columns)
        number = uuid.uuid4().hex[:12]
        database.add_number(tenant_id, number)
        return Inbox(opened, database.admin, tenant_id, number)

    yield make
    opened.dispose()


@pytest.fixture
def inbox(make_inbox) -> Inbox:
    return make_inbox()
