"""A tenant whose inbox takes signed webhooks over the real route and whose worker's task applies them."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from dataclasses import dataclass

import psycopg
import pytest

from gateway.drivers.cloud_api.webhook import sign
from serving.conversation.service import process_all
from serving.kit.clock import utc_now
from serving.kit.database import Database
from serving.webhook import endpoints

PATH = "/api/v1/webhooks/whatsapp"
SECRET = "app-secret"
ANNA = "999100000041"


@dataclass
class Shop:
    """One tenant; `say` and `prefer` post what a person does, `queued` reads what waits to be sent to them."""

    api: object
    database: Database
    admin: str
    tenant_id: uuid.UUID
    number: str
    now: dt.datetime

    def post(self, field: str, key: str, item: dict) -> None:
        value = {"messaging_product": "whatsapp", "metadata": {"phone_number_id": self.number}, "contacts": []}
        change = {"field": field, "value": value | {key: [item]}}
        body = json.dumps({"object": "whatsapp_business_account", "entry": [{"id": "1", "changes": [change]}]}).encode()
        headers = {"X-Hub-Signature-256": sign(body, SECRET), "Content-Type": "application/json"}
        assert self.api.post(PATH, content=body, headers=headers).status_code == 200

    def say(self, text: str = "", /, *, after: int = 0, sender: str = ANNA, **item: object) -> str:
        wamid = f"wamid.{uuid.uuid4().hex}"
        content = item or {"type": "text", "text": {"body": text}}
        self.post("messages", "messages", {"id": wamid, "from": sender, "timestamp": self._at(after)} | content)
        return wamid

    def prefer(self, value: str, *, after: int = 0, wa_id: str = ANNA) -> None:
        item = {"wa_id": wa_id, "category": "marketing_messages", "value": value, "timestamp": self._at(after),
                "detail": "User requested it"}  # fmt: skip
        self.post("user_preferences", "user_preferences", item)

    def process(self):
        return process_all(self.database, self.tenant_id, utc_now(), phone_key="key")

    def all(self, query: str, *parameters: object) -> list[tuple]:
        with psycopg.connect(self.database.url) as connection:
            connection.execute("SELECT set_config('app.tenant_id', %s, true)", (str(self.tenant_id),))
            return connection.execute(query, parameters).fetchall()

    def consents(self) -> list[tuple]:
        return self.all("SELECT status, source FROM consents WHERE purpose = 'marketing'")

    def queued(self) -> list[tuple]:
        return self.all("SELECT purpose, campaign_id, payload ->> 'text' FROM outbound_messages ORDER BY created_at")

    def execute(self, statement: str, *parameters: object) -> None:
        with psycopg.connect(self.admin) as connection:
            connection.execute(statement, parameters)

    def set(self, **settings: object) -> None:
        self.execute("UPDATE tenants SET settings = %s WHERE id = %s", json.dumps(settings), self.tenant_id)

    def _at(self, after: int) -> str:
        return str(int(self.now.timestamp()) + after)


@pytest.fixture
def shop(api, database, monkeypatch):
    monkeypatch.setenv("GATEWAY_APP_SECRET", SECRET)
    endpoints.receiving_driver.cache_clear()
    tenant_id, number = database.add_tenant(name="Bean & Co"), uuid.uuid4().hex[:12]
    database.add_number(tenant_id, number)
    opened = Database(database.worker, pool_size=3)
    yield Shop(api, opened, database.admin, tenant_id, number, utc_now() - dt.timedelta(minutes=10))
    opened.dispose()
    endpoints.receiving_driver.cache_clear()
