"""Signed deliveries by chance, through the receiver as it runs and then the worker's function: none is refused, none
costs more than it may, and afterwards a plain STOP still counts."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Iterator
from random import Random

import httpx
import psycopg
import pytest

from gateway.drivers.cloud_api.webhook import sign
from serving.conversation.service import process_inbound
from serving.kit.database import Database
from tests.fuzz.limits import within_limits
from tests.gateway.webhook_bodies import VALUES, body, captured, spoil, spoil_bytes

SECRET = "a-secret-of-the-fuzz"
ANONYMOUS_CPU_SECONDS = 0.02
PERSON = "999100000088"


@pytest.fixture(scope="module", autouse=True)
def secret() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GATEWAY_APP_SECRET", SECRET)
        yield


class Receiver:
    """A tenant's number at the running API, and the worker's function over its inbox."""

    def __init__(self, process, database) -> None:
        self.process, self.admin = process, database.admin
        self.tenant_id, self.number = database.add_tenant(), uuid.uuid4().hex[:12]
        database.add_number(self.tenant_id, self.number)
        self.worker = Database(database.worker, pool_size=1)
        self.client = httpx.Client(base_url=process.url, timeout=60)

    def deliver(self, content: bytes, signature: str | None = None) -> int:
        headers = {"X-Hub-Signature-256": signature if signature is not None else sign(content, SECRET)}
        return self.client.post("/api/v1/webhooks/whatsapp", content=content, headers=headers).status_code

    def apply(self) -> None:
        while process_inbound(self.worker, self.tenant_id, dt.datetime.now(dt.UTC), phone_key="key").claimed:
            pass

    def say(self, wamid: str, text: str) -> None:
        """A plain message of a known person, now."""
        at = str(int(dt.datetime.now(dt.UTC).timestamp()))
        message = {"id": wamid, "from": PERSON, "timestamp": at, "type": "text", "text": {"body": text}}
        assert self.deliver(json.dumps(body(self.number, ("messages", {"messages": [message]}))).encode()) == 200
        self.apply()

    def one(self, query: str) -> tuple:
        with psycopg.connect(self.admin) as connection:
            return connection.execute(query, {"tenant": self.tenant_id, "phone": "+" + PERSON}).fetchone()

    @property
    def consent(self) -> str:
        return self.one(
            "SELECT h.status FROM consents h JOIN contacts c ON c.tenant_id = h.tenant_id AND c.id = h.contact_id"
            " WHERE h.tenant_id = %(tenant)s AND c.phone = %(phone)s"
        )[0]


@pytest.fixture(scope="module")
def receiver(api_process, database) -> Iterator[Receiver]:
    receiver = Receiver(api_process, database)
    receiver.say("wamid.join", "JOIN")
    yield receiver
    receiver.client.close()
    receiver.worker.dispose()


def delivery(number: str, chance: Random) -> bytes:
    """One to four changes of known kinds or a captured body, spoilt in some places, at times beyond JSON."""
    files = captured()
    if files and chance.random() < 0.2:
        document = json.loads(chance.choice(files).read_bytes())
        for change in document["entry"][0]["changes"]:
            change["value"]["metadata"] = {"phone_number_id": number}
    else:
        document = body(number, *chance.choices(VALUES, k=chance.randint(1, 4)))
    for _ in range(chance.randint(1, 6)):
        if document:
            spoil(document, chance)
    # Ids of their own: what was delivered before would be left out.
    written = json.dumps(document).replace("wamid.", f"wamid.{chance.getrandbits(40)}.")
    content = written.encode()
    return spoil_bytes(content, chance) if chance.random() < 0.2 else content


@pytest.mark.fuzz(inputs=60)
def test_signed_deliveries_are_kept_and_a_plain_stop_still_counts(receiver, chances):
    for chance in chances:
        content = delivery(receiver.number, chance)
        with within_limits(content, pid=receiver.process.pid):
            status = receiver.deliver(content)
        assert status == 200, content[:2000]
        with within_limits(content):
            receiver.apply()
    receiver.say("wamid.again", "JOIN")
    assert receiver.consent == "opted_in"
    receiver.say("wamid.stop", "STOP")
    assert receiver.consent == "opted_out"
    left = receiver.one(
        "SELECT count(*) FROM inbound_events WHERE tenant_id = %(tenant)s AND processed_at IS NULL AND attempts = 0"
    )
    assert left == (0,)


HUGE = {
    "containers": b"{}," * 990_000,
    "numbers": b"1," * 1_490_000,
    "strings": b'"\xc4\x80",' * 590_000,
    "keys": b'{"":0},' * 420_000,
    "digits": b"1" * 2_990_000,
    "fraction": b"0." + b"1" * 2_990_000,
    "depth": b"[" * 2_990_000,
    "text": b'"' + "😀".encode() * 740_000 + b'"',
    "commas in text": b'"' + b"," * 2_990_000 + b'"',
    "statuses": b'{"id":"w","status":"read"},' * 110_000,
    "escapes": b'"' + b"\\u0000" * 490_000 + b'"',
}


@pytest.mark.fuzz(inputs=1)
@pytest.mark.parametrize("part", HUGE)
def test_the_largest_deliveries_are_bounded(receiver, part):
    items = HUGE[part].rstrip(b",")
    items = b"[%s]" % items if part != "depth" else items
    metadata = b'"metadata":{"phone_number_id":"%s"}' % receiver.number.encode()
    content = b'{"entry":[{"changes":[{"field":"messages","value":{%s,"messages":%s}}]}]}' % (metadata, items)
    with within_limits(content, pid=receiver.process.pid):
        status = receiver.deliver(content)
    assert status == 200
    with within_limits(content):
        receiver.apply()


@pytest.mark.fuzz(inputs=40)
def test_forged_deliveries_are_refused_at_no_cost(receiver, chances):
    for chance in chances:
        content = delivery(receiver.number, chance) * chance.choice([1, 1, 1, 50])
        content = content[:2_900_000]
        signature = chance.choice(["", "sha256=", sign(content, "another"), "sha256=é", sign(content, SECRET)[:-1]])
        with within_limits(content, pid=receiver.process.pid, cpu_seconds=ANONYMOUS_CPU_SECONDS):
            status = receiver.deliver(content, signature.encode())  # type: ignore[arg-type]
        assert status == 401
