"""A tenant ready to send, and a Cloud API that answers as a test tells it to."""

from __future__ import annotations

import contextlib
import datetime as dt
import itertools
import json
import random
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psycopg
import pytest
from pydantic import SecretStr

from gateway.settings import GatewaySettings
from serving.kit.clock import utc_now
from serving.kit.database import Database
from serving.sending.drivers import Drivers
from serving.sending.pacing import Unpaced
from serving.sending.service import Sender

_wamids = itertools.count(1)
Answer = tuple[int, dict]


@dataclass
class CloudApi:
    """A real HTTP server. `answer(body)` gives a refusal, "hang up" or None to accept; every request is remembered."""

    base_url: str = ""
    requests: list[dict] = field(default_factory=list)
    answer: Callable[[dict], Answer | str | None] = lambda body: None

    @property
    def sends(self) -> Counter[str]:
        """How often each of our message ids arrived."""
        return Counter(body["biz_opaque_callback_data"] for body in self.requests)


@pytest.fixture
def cloud_api() -> Iterator[CloudApi]:
    api = CloudApi()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            api.requests.append(body)
            answer = api.answer(body)
            if answer == "hang up":
                self.close_connection = True
                return
            status, content = answer if answer is not None else (
                200, {"messages": [{"id": f"wamid.{next(_wamids)}", "message_status": "accepted"}]}
            )  # fmt: skip
            sent = json.dumps(content).encode()
            with contextlib.suppress(ConnectionError):  # the sender was killed meanwhile
                self._reply(status, sent)

        def _reply(self, status: int, sent: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        def log_message(self, *_: object) -> None:
            """Tests read `requests`."""

    class Server(ThreadingHTTPServer):
        request_queue_size = 128  # of five, a busy machine loses those who knock at once

    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    api.base_url = f"http://127.0.0.1:{server.server_address[1]}"
    yield api
    server.shutdown()
    server.server_close()


def refusal(status: int, code: int) -> Answer:
    return status, {"error": {"message": f"(#{code}) refused", "type": "OAuthException", "code": code}}


@pytest.fixture
def worker_database(database) -> Iterator[Database]:
    opened = Database(database.worker, pool_size=4)
    yield opened
    opened.dispose()


@pytest.fixture
def sender(worker_database, settings, cloud_api) -> Iterator[Sender]:
    gateway = GatewaySettings(base_url=cloud_api.base_url, access_token=SecretStr("token"), app_secret=SecretStr("s"))
    drivers = Drivers(gateway)
    yield Sender(worker_database, settings, drivers, Unpaced(), utc_now, random.Random(7))
    drivers.close()


@dataclass
class Outbox:
    """A tenant with a number and a running campaign; `add` queues one message to each of n new opted-in people."""

    admin: str
    tenant_id: uuid.UUID
    number_id: uuid.UUID
    campaign_id: uuid.UUID
    provider_number_id: str

    def add(self, people: int, consent: str | None = "opted_in", due_at: dt.datetime | None = None) -> list[uuid.UUID]:
        ids = [uuid.uuid4() for _ in range(people)]
        due_at = due_at or utc_now() - dt.timedelta(seconds=1)
        with psycopg.connect(self.admin) as connection, connection.cursor() as cursor:
            for message_id in ids:
                contact_id = uuid.uuid4()
                phone = f"+999{contact_id.int % 10**12:012d}"
                cursor.execute(
                    "INSERT INTO contacts (tenant_id, id, phone) VALUES (%s, %s, %s)",
                    (self.tenant_id, contact_id, phone),
                )
                if consent:
                    cursor.execute(
                        "INSERT INTO consents (tenant_id, contact_id, status, effective_at, source)"
                        " VALUES (%s, %s, %s, now(), 'test')",
                        (self.tenant_id, contact_id, consent),
                    )
                payload = {"kind": "template", "text": "Hello", "template_name": "hello", "template_language": "en"}
                cursor.execute(
                    "INSERT INTO outbound_messages (tenant_id, id, campaign_id, contact_id, phone_number_id, payload,"
                    " payload_hash, due_at) VALUES (%s, %s, %s, %s, %s, %s, 'hash', %s)",
                    (
                        self.tenant_id,
                        message_id,
                        self.campaign_id,
                        contact_id,
                        self.number_id,
                        json.dumps(payload),
                        due_at,
                    ),
                )
        return ids

    def add_campaign(self) -> uuid.UUID:
        """One more running campaign of the same number."""
        campaign_id = uuid.uuid4()
        self.execute(
            "INSERT INTO campaigns (tenant_id, id, name, status, message_template) VALUES (%s, %s, 'Winter',"
            " 'running', 'Hi')",
            self.tenant_id, campaign_id,
        )  # fmt: skip
        return campaign_id

    def add_again(self, message_id: uuid.UUID, campaign_id: uuid.UUID) -> uuid.UUID:
        """The same message to the same person once more, for another campaign."""
        again = uuid.uuid4()
        self.execute(
            "INSERT INTO outbound_messages (tenant_id, id, campaign_id, contact_id, phone_number_id, payload,"
            " payload_hash, due_at) SELECT tenant_id, %s, %s, contact_id, phone_number_id, payload, payload_hash,"
            " due_at FROM outbound_messages WHERE id = %s",
            again, campaign_id, message_id,
        )  # fmt: skip
        return again

    def all(self, query: str, *parameters: object) -> list[tuple]:
        with psycopg.connect(self.admin) as connection:
            return connection.execute(query, parameters).fetchall()

    def one(self, query: str, *parameters: object) -> tuple:
        (row,) = self.all(query, *parameters)
        return row

    def states(self) -> Counter[str]:
        rows = self.all("SELECT state, count(*) FROM outbound_messages WHERE tenant_id = %s GROUP BY 1", self.tenant_id)
        return Counter(dict(rows))

    def execute(self, statement: str, *parameters: object) -> None:
        with psycopg.connect(self.admin) as connection:
            connection.execute(statement, parameters)


@pytest.fixture
def outbox(database) -> Outbox:
    tenant_id = database.add_tenant(settings=json.dumps({"quiet_hours": {"start": 0, "end": 0}}))
    provider_number_id = uuid.uuid4().hex[:12]
    number_id = database.add_number(tenant_id, provider_number_id)
    campaign_id = uuid.uuid4()
    with psycopg.connect(database.admin) as connection:
        connection.execute(
            "INSERT INTO campaigns (tenant_id, id, name, status, message_template) VALUES (%s, %s, 'Autumn',"
            " 'running', 'Hi')",
            (tenant_id, campaign_id),
        )
    return Outbox(database.admin, tenant_id, number_id, campaign_id, provider_number_id)
