"""A person comes by every road, everything runs, the person is erased: nothing of an installation tells of it."""

from __future__ import annotations

import base64
import csv
import datetime as dt
import json
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field

import polars as pl
import psycopg
import pytest
from fastapi.testclient import TestClient

from gateway.drivers.cloud_api.webhook import sign
from orchestration.runtime.environment import process_environment
from serving.app import create_app
from serving.auth.tokens import api_key_hash
from serving.conversation.service import process_all
from serving.kit.database import Database
from serving.settings import Settings
from serving.webhook import endpoints
from tests.e2e.traces import Traces, phone_spellings, spellings
from tests.orchestration.installation import WAREHOUSE, Installation, installed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PHONE, NAME, EMAIL = "+4915799887711", "Zebulona Quixworth", "zebulona@quixworth.example"
USER_ID, EXTERNAL_ID, HOBBY = "DE.zq.77881", "quix-000177", "taxidermy of hummingbirds"
SAID = "my grandmother's teapot is haunted"
MEDIA, ITEM, PROOF, BORN = "media-teapot-551", "teapot with a ghost", "ticked at quixworth hall", "quixworthian"
# The part of each that stands nowhere else.
WORDS = ("Zebulona", "Quixworth", "quixworth", USER_ID, EXTERNAL_ID, "hummingbirds", "haunted", MEDIA, "with a ghost")
NUMBER, NUMBER_ID, KEY = "+4915799887700", "770000000001", "rk_a-key-of-this-test-and-of-nobody-else"
WAMID = {
    word: "wamid." + base64.b64encode(PHONE.removeprefix("+").join(("\x1c" * (number % 3), word)).encode()).decode()
    for number, word in enumerate(
        ("text", "image", "order", "react", "contacts", "button", "stop", "odd", "ours", "edit")
    )
}
RUN = " or ".join(
    (
        WAREHOUSE, "group:online", 'key:"publish/marts"', 'key:"publish/analysts_snapshot"',
        'key:"training/lead_scoring_dataset"', 'key:"models/lead_scoring"', 'key:"scores/lead_scoring"',
    )
)  # fmt: skip
MAPPING = """\
source: shop
default_region: DE
sources:
  people: {file: people.csv}
tables:
  contacts:
    attributes: {hobby: category}
    select: SELECT id AS external_id, phone, name, email, '2025-09-01' AS known_at, hobby FROM people
  consents:
    select: |
      SELECT id AS contact, 'opted_in' AS status, '2025-09-02' AS occurred_at, 'form' AS source, name AS wording
      FROM people
  campaigns:
    select: SELECT 'spring' AS external_id, 'Spring' AS name, '2025-10-01' AS started_at
  messages:
    select: |
      SELECT id || '-' || n AS external_id, id AS contact, 'spring' AS campaign,
        TIMESTAMP '2025-10-02' + INTERVAL 3 DAY * n AS occurred_at, 'Dear ' || name AS text
      FROM people, range(1, 9) AS r(n)
  orders:
    select: |
      SELECT id AS contact, TIMESTAMP '2025-10-20' AS occurred_at, 900 AS total_cents, 'order-' || id AS external_id
      FROM people
"""


@dataclass
class Product:
    installation: Installation
    api: TestClient
    database: Database
    tenant: uuid.UUID
    clean: set[tuple[str, int, int]] = field(default_factory=set)

    def admin(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        with psycopg.connect(self.installation.url()) as connection:
            found = connection.execute(statement, values)
            return found.fetchall() if found.description else []

    def call(self, method: str, path: str, **options: object):
        return self.api.request(method, f"/api/v1{path}", headers={"X-API-Key": KEY}, **options)

    def deliver(self, field: str, **items: object) -> None:
        value = {"messaging_product": "whatsapp", "metadata": {"phone_number_id": NUMBER_ID}} | items
        change = {
            "object": "whatsapp_business_account",
            "entry": [{"id": "1", "changes": [{"field": field, "value": value}]}],
        }
        content = json.dumps(change).encode()
        headers = {"X-Hub-Signature-256": sign(content, os.environ["GATEWAY_APP_SECRET"])}
        assert self.api.post("/api/v1/webhooks/whatsapp", content=content, headers=headers).status_code == 200

    def process(self) -> None:
        process_all(self.database, self.tenant, dt.datetime.now(dt.UTC))

    def learnt_from(self) -> set[str]:
        """The contacts in the training sets on disk."""
        files = (self.installation.home.path / "training" / "ours").glob("*.parquet")
        return {str(contact) for file in files for contact in pl.read_parquet(file)["contact_id"]}

    def traces(self) -> Traces:
        needles = {"phone": phone_spellings(PHONE)} | {word: spellings(word) for word in WORDS}
        traces = Traces(needles, self.clean).in_files(self.installation.home.path).in_postgres(self.installation.url())
        return traces.in_redis(os.environ["SERVING_REDIS_URL"])


@pytest.fixture(scope="module")
def product() -> Iterator[Product]:
    with installed() as made, pytest.MonkeyPatch.context() as patch:
        made.make_history()
        made.done("purge")
        for name, value in process_environment(made.home).items():
            patch.setenv(name, value)
        endpoints.receiving_driver.cache_clear()
        with psycopg.connect(made.url()) as connection:
            (tenant,) = connection.execute("SELECT id FROM tenants WHERE slug = 'ours'").fetchone()  # type: ignore[misc]
            connection.execute(
                "INSERT INTO api_keys (tenant_id, key_hash, key_prefix, name, role)"
                " VALUES (%s, %s, 'rk_', 'k', 'admin')",
                (tenant, api_key_hash(KEY)),
            )
            connection.execute(
                "INSERT INTO phone_numbers (tenant_id, phone, provider_number_id) VALUES (%s, %s, %s)",
                (tenant, NUMBER, NUMBER_ID),
            )
        settings = Settings()
        database = Database(settings.worker_database_url, pool_size=2)
        with TestClient(create_app(settings), raise_server_exceptions=False) as api:
            yield Product(made, api, database, tenant)
        database.dispose()
        endpoints.receiving_driver.cache_clear()


def messages() -> list[dict[str, object]]:
    kinds: list[tuple[str, str, object]] = [
        ("text", "text", {"body": f"{SAID}, says {NAME} ({EMAIL})"}),
        ("image", "image", {"id": MEDIA, "caption": SAID, "url": f"https://example.com/{MEDIA}"}),
        ("order", "order", {"catalog_id": "1", "text": SAID, "product_items": [
            {"product_retailer_id": ITEM, "quantity": "1", "item_price": "9.5", "currency": "EUR"}]}),
        ("react", "reaction", {"message_id": WAMID["ours"], "emoji": "x"}),
        ("contacts", "contacts", [{"name": {"formatted_name": NAME}, "emails": [{"email": EMAIL}]}]),
        ("button", "button", {"text": SAID, "payload": NAME}),
        ("stop", "text", {"body": "STOP"}),
        ("odd", "sticker-of-tomorrow", {"id": MEDIA}),
    ]  # fmt: skip
    start = int(dt.datetime.now(dt.UTC).timestamp()) - 3600
    return [
        {"id": WAMID[word], "from": PHONE[1:], "timestamp": str(start + number), "type": kind, kind: content}
        for number, (word, kind, content) in enumerate(kinds)
    ]


def plant(product: Product, folder) -> str:
    """The contact's id."""
    imported(product, folder)
    sender = {"wa_id": PHONE[1:], "user_id": USER_ID, "profile": {"name": NAME}}
    now = str(int(dt.datetime.now(dt.UTC).timestamp()))
    for item in messages():
        product.deliver("messages", contacts=[sender], messages=[item])
    for word in ("ours", "edit"):
        content = {"type": "text", "text": {"body": f"Dear {NAME}"}}
        item = {"id": WAMID[word], "from": NUMBER[1:], "to": PHONE[1:], "timestamp": now} | content
        product.deliver("smb_message_echoes", message_echoes=[item])
    for word in ("delivered", "read", "held_for_review"):
        item = {"id": WAMID["ours"], "status": word, "timestamp": now, "recipient_id": PHONE[1:]}
        product.deliver("messages", statuses=[item], contacts=[sender])
    # Of a message nobody knows, and named by nothing but its id.
    product.deliver("messages", statuses=[{"id": WAMID["ours"] + "B", "status": "sent", "timestamp": now}])
    product.deliver(
        "user_preferences",
        contacts=[sender],
        user_preferences=[{"wa_id": PHONE[1:], "category": "marketing_messages", "value": "resume", "timestamp": now}],
    )
    product.deliver("message_template_status_update", event="APPROVED", reason=f"asked by {NAME}, {PHONE}")
    product.process()
    (contact,) = product.call("GET", "/contacts/search", params={"q": PHONE[1:]}).json()["items"]
    # What the database refuses it says in its log.
    assert product.call("POST", "/contacts/", json={"phone": PHONE, "name": NAME}).status_code == 409
    changed = product.call(
        "PUT",
        f"/contacts/{contact['id']}",
        json={"email": EMAIL, "name": NAME, "custom_data": {"born": BORN, "hobby": HOBBY}},
    )
    assert changed.status_code == 200, changed.text
    assert product.call("POST", f"/contacts/{contact['id']}/tags", json={"tags": [BORN]}).status_code == 200
    sent_and_proven(product, contact["id"])
    return str(contact["id"])


def imported(product: Product, folder) -> None:
    (folder / "mapping.yaml").write_text(MAPPING)
    with (folder / "people.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "phone", "name", "email", "hobby"])
        rows.writerow([EXTERNAL_ID, PHONE, NAME, EMAIL, HOBBY])
        rows.writerow([f"{EXTERNAL_ID}-b", "no number", NAME, EMAIL, HOBBY])
        rows.writerows([f"other-{n}", f"+49157000000{n:02}", f"Other {n}", "", "chess"] for n in range(20))
    told = product.installation.done("import", str(folder / "mapping.yaml"), "--tenant", "ours", "--json")
    assert json.loads(told)["tables"]["contacts"]["rejected"]


def sent_and_proven(product: Product, contact: str) -> None:
    values = (product.tenant, contact)
    product.admin(
        "INSERT INTO outbound_messages (tenant_id, contact_id, phone_number_id, payload, payload_hash, due_at, state,"
        " provider_id) SELECT %s, %s, id, %s, 'h', now(), 'accepted', %s FROM phone_numbers LIMIT 1",
        *values,
        json.dumps({"kind": "text", "text": f"Dear {NAME}", "to": PHONE}),
        WAMID["ours"],
    )
    product.admin(
        "INSERT INTO send_attempts (tenant_id, outbound_message_id, attempt, started_at, finished_at, outcome,"
        " error_detail) SELECT tenant_id, id, 1, now(), now(), 'failed', %s FROM outbound_messages"
        " WHERE provider_id = %s",
        f"no account: {PHONE}",
        WAMID["ours"],
    )
    product.admin(
        "INSERT INTO consent_events (tenant_id, contact_id, event_key, status, occurred_at, known_at, source, wording,"
        " proof) VALUES (%s, %s, %s, 'opted_in', now(), now(), 'form', %s, %s)",
        *values,
        f"form:{PHONE}",
        PROOF,
        json.dumps({"who": NAME, "email": EMAIL, "said": PROOF}),
    )


class TestAnErasedPerson:
    def test_is_nowhere(self, product, tmp_path):
        contact = plant(product, tmp_path)
        told = product.installation.rapport("run", "--select", RUN, "--tenant", "ours")
        assert told.returncode == 0, told.stderr[-2000:]

        traces = product.traces()
        before = traces.places
        for kept in ("redis:features:", "redis/"):
            assert any(place.startswith(kept) for place in before), kept
        assert before >= {
            "postgres:public.contacts",
            "postgres:public.inbound_events",
            "warehouse/raw.duckdb",
            "warehouse/warehouse.duckdb",
            "snapshots/ours.duckdb",
            "rejects/ours/contacts.csv",
        }

        assert contact in product.learnt_from()

        erased = product.call("DELETE", f"/contacts/{contact}")
        assert erased.status_code == 204
        progress = erased.headers["location"].removeprefix("/api/v1")
        assert product.call("GET", progress).json()["purged_at"] is None
        # At once: the operational database and the online store.
        traces = product.traces()
        at_once = {place for place in traces.places if place.startswith(("postgres:public", "redis:"))}
        assert at_once == set()

        product.installation.done("purge")
        assert product.call("GET", progress).json()["purged_at"] is not None
        assert product.traces().found == set()
        assert contact not in product.learnt_from()
