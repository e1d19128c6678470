"""A provider that keeps templates, and an audience of people who may and who may not be written to."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest
from pydantic import SecretStr

from gateway.settings import GatewaySettings
from serving.consent.suppression import phone_hmac
from serving.sending.drivers import Drivers

HELLO = {
    "name": "hello", "language": "en", "status": "APPROVED", "category": "MARKETING",
    "components": [{"type": "BODY", "text": "Hi {{1}}"}],
}  # fmt: skip


@dataclass
class Provider:
    """A real HTTP server that lists `templates`; with `status` it refuses."""

    base_url: str = ""
    templates: list[dict] = field(default_factory=lambda: [dict(HELLO)])
    status: int = 200
    error: dict | None = None


@pytest.fixture(scope="module")
def _listening() -> Iterator[Provider]:
    provider = Provider()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = parse_qs(urlsplit(self.path).query).get("name", [""])[0]
            found = [template for template in provider.templates if name in template["name"]]
            body = json.dumps({"data": found} if provider.status == 200 else {"error": provider.error}).encode()
            self.send_response(provider.status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Keeps the output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    provider.base_url = f"http://127.0.0.1:{server.server_address[1]}"
    yield provider
    server.shutdown()
    server.server_close()


@pytest.fixture
def provider(_listening, api) -> Iterator[Provider]:
    """The provider behind the running API."""
    drivers = api.app.state.drivers
    _listening.templates, _listening.status, _listening.error = [dict(HELLO)], 200, None
    api.app.state.drivers = Drivers(GatewaySettings(base_url=_listening.base_url, access_token=SecretStr("token")))
    yield _listening
    api.app.state.drivers.close()
    api.app.state.drivers = drivers


@pytest.fixture
def number_id(database, tenant) -> uuid.UUID:
    with psycopg.connect(database.admin) as connection:
        row = connection.execute("SELECT id FROM phone_numbers WHERE tenant_id = %s", (tenant.tenant_id,)).fetchone()
    return row[0] if row else database.add_number(tenant.tenant_id, uuid.uuid4().hex[:12])


@pytest.fixture
def make_segment(database, tenant):
    """Makes a segment of new contacts, given by (status, consent, has a phone, tags); their ids with it."""

    def make(people: list[tuple[str, str | None, bool]], kind: str = "static", definition: dict | None = None):
        tenant_id, segment_id, contacts = tenant.tenant_id, uuid.uuid4(), []
        with psycopg.connect(database.admin) as connection:
            connection.execute(
                "INSERT INTO segments (tenant_id, id, name, kind, definition) VALUES (%s, %s, %s, %s, %s)",
                (tenant_id, segment_id, str(segment_id), kind, json.dumps(definition or {})),
            )
            for status, consent, has_phone in people:
                contact_id = uuid.uuid4()
                contacts.append(contact_id)
                phone = f"+999{contact_id.int % 10**12:012d}" if has_phone else None
                connection.execute(
                    "INSERT INTO contacts (tenant_id, id, phone, status, name) VALUES (%s, %s, %s, %s, 'Ada')",
                    (tenant_id, contact_id, phone, status),
                )
                if consent:
                    connection.execute(
                        "INSERT INTO consents (tenant_id, contact_id, status, effective_at, source) VALUES (%s, %s,"
                        " %s, now(), 'test')",
                        (tenant_id, contact_id, consent),
                    )
                connection.execute(
                    "INSERT INTO segment_members (tenant_id, segment_id, contact_id) VALUES (%s, %s, %s)",
                    (tenant_id, segment_id, contact_id),
                )
        return segment_id, contacts

    return make


@pytest.fixture
def audience(database, tenant, settings, number_id, make_segment):
    """A segment of 200 who may be written to, and one each of those who may not; the number to send from."""
    people = [("active", "opted_in", True)] * 200 + [
        ("active", None, True), ("active", "opted_out", True), ("unreachable", "opted_in", True),
        ("active", "opted_in", False), ("active", "opted_in", True),
    ]  # fmt: skip
    segment_id, contacts = make_segment(people)
    with psycopg.connect(database.admin) as connection:
        (phone,) = connection.execute("SELECT phone FROM contacts WHERE id = %s", (contacts[-1],)).fetchone()
        hmac = phone_hmac(phone, settings.phone_hmac_key.get_secret_value())
        connection.execute(
            "INSERT INTO unsubscribers (tenant_id, phone_hmac, reason, date) VALUES (%s, %s, 'test', now())",
            (tenant.tenant_id, hmac),
        )
    return segment_id


@pytest.fixture
def make_campaign(api, as_admin, provider, audience):
    def make(**changes: object) -> dict:
        body = {
            "name": "Autumn", "message_template": "Hi {{name}}", "template_name": "hello",
            "segment_id": str(audience), "holdout_rate": 0.25,
            "attributes": {"offer_type": "discount", "discount_rate": 0.2, "channels": ["whatsapp"]},
        } | changes  # fmt: skip
        answer = api.post("/api/v1/campaigns/", json=body, headers=as_admin)
        assert answer.status_code == 201, answer.text
        return answer.json()

    return make


@pytest.fixture
def campaign(make_campaign) -> dict:
    return make_campaign()
