from __future__ import annotations

import json
import uuid
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from redis import Redis

from gateway.drivers.cloud_api.webhook import sign
from serving.webhook import endpoints

PATH = "/api/v1/webhooks/whatsapp"
SECRET = "app-secret"


@pytest.fixture(autouse=True)
def gateway_settings(monkeypatch):
    monkeypatch.setenv("GATEWAY_APP_SECRET", SECRET)
    monkeypatch.setenv("GATEWAY_VERIFY_TOKEN", "verify-me")
    endpoints.receiving_driver.cache_clear()
    yield
    endpoints.receiving_driver.cache_clear()


@pytest.fixture
def numbers(database):
    """A registered number of each of two tenants."""
    made = {}
    for _ in range(2):
        tenant_id, number = database.add_tenant(), uuid.uuid4().hex[:12]
        database.add_number(tenant_id, number)
        made[number] = tenant_id
    return made


def body(number: str, *wamids: str, text: str = "hello") -> bytes:
    messages = [
        {"id": wamid, "from": "999100000031", "timestamp": "1770000000", "type": "text", "text": {"body": text}}
        for wamid in wamids
    ]
    value = {
        "messaging_product": "whatsapp",
        "metadata": {"phone_number_id": number},
        "contacts": [],
        "messages": messages,
    }
    return json.dumps(
        {
            "object": "whatsapp_business_account",
            "entry": [{"id": "1", "changes": [{"field": "messages", "value": value}]}],
        }
    ).encode()


def deliver(api, content: bytes, signature: str | None = None):
    headers = {"X-Hub-Signature-256": signature or sign(content, SECRET), "Content-Type": "application/json"}
    return api.post(PATH, content=content, headers=headers)


def stored(database, tenant_id) -> list[tuple]:
    with psycopg.connect(database.admin) as connection:
        return connection.execute(
            "SELECT event_key, payload FROM inbound_events WHERE tenant_id = %s ORDER BY event_key", (tenant_id,)
        ).fetchall()


class TestSubscribe:
    def test_echoes_the_challenge_for_the_right_token(self, api):
        query = {"hub.mode": "subscribe", "hub.verify_token": "verify-me", "hub.challenge": "42"}
        answer = api.get(PATH, params=query)
        assert (answer.status_code, answer.text) == (200, "42")

    def test_refuses_another_token(self, api):
        query = {"hub.mode": "subscribe", "hub.verify_token": "guess", "hub.challenge": "42"}
        assert api.get(PATH, params=query).status_code == 401


class TestReceive:
    def test_events_are_durable_when_it_answers(self, api, database, numbers):
        number = next(iter(numbers))
        answer = deliver(api, body(number, "w.1", "w.2"))
        assert (answer.status_code, answer.json()) == (200, {"events": 2, "unrouted": 0})
        assert [key for key, _ in stored(database, numbers[number])] == ["w.1", "w.2"]

    def test_a_repeated_delivery_is_answered_alike_and_stored_once(self, api, database, numbers):
        number = next(iter(numbers))
        answers = [deliver(api, body(number, "w.1")) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200] * 3
        assert len(stored(database, numbers[number])) == 1

    def test_many_at_once_for_two_tenants_keep_to_their_own(self, api, database, numbers):
        bodies = [
            body(number, *(f"w.{index}.{part}" for part in range(5))) for index in range(40) for number in numbers
        ]
        with ThreadPoolExecutor(16) as pool:
            codes = {answer.status_code for answer in pool.map(lambda content: deliver(api, content), bodies)}
        assert codes == {200}
        assert [len(stored(database, tenant_id)) for tenant_id in numbers.values()] == [200, 200]
        # Requests that waited together were committed together.
        assert api.app.state.inbox_writer.transactions < 80

    def test_a_forged_body_is_refused_before_it_is_read(self, api, database, numbers, redis_url):
        number = next(iter(numbers))
        redis = Redis.from_url(redis_url)
        before = int(redis.get("webhook:rejected:forged") or 0)
        for content in (body(number, "w.1"), b"{not json"):
            assert deliver(api, content, signature=sign(content, "another-secret")).status_code == 401
        assert deliver(api, body(number, "w.2"), signature="sha256=0").status_code == 401
        assert int(redis.get("webhook:rejected:forged")) == before + 3
        assert stored(database, numbers[number]) == []

    @pytest.mark.parametrize(
        "content", [b"{not json", b"[]", b'{"entry": 3}', b"\xff\xfe", b'{"entry":[{"changes":[3]}]}', b"[" * 90_000]
    )
    def test_a_signed_body_that_is_no_webhook_is_acknowledged(self, api, content):
        answer = deliver(api, content)
        assert (answer.status_code, answer.json()) == (200, {"events": 1, "unrouted": 1})

    @pytest.mark.parametrize("damage", [b"}", b"\xff", b"\x00", b"[" * 2000, b',{"a":1}'])
    def test_a_signed_body_that_cannot_be_read_is_kept_as_it_came(self, api, database, numbers, damage):
        number = next(iter(numbers))
        content = body(number, "w.1") + damage
        assert [deliver(api, content).status_code for _ in range(2)] == [200, 200]
        ((key, payload),) = stored(database, numbers[number])
        assert key.startswith("unreadable:")
        kept = content.decode("utf-8", "backslashreplace").replace("\x00", "")
        assert payload["value"]["body"] == kept

    @pytest.mark.parametrize("odd", [["1"], {"a": 1}, 4.5, True, "x" * 5000, "nul \x00", "half \ud83d", None, -1])
    def test_an_odd_number_of_ours_is_nobodys(self, api, numbers, odd):
        answer = deliver(api, body(odd, "w.1"))
        assert (answer.status_code, answer.json()) == (200, {"events": 1, "unrouted": 1})

    def test_a_number_of_ours_may_be_written_as_a_number(self, api, database):
        tenant_id = database.add_tenant()
        database.add_number(tenant_id, "815000123")
        assert deliver(api, body(815000123, "w.1")).json()["unrouted"] == 0
        assert [key for key, _ in stored(database, tenant_id)] == ["w.1"]

    @pytest.mark.parametrize("odd", [["w"], {"a": 1}, 4.5, None, True, "", "x" * 5000, "nul \x00", "half \ud83d"])
    def test_an_event_with_an_odd_id_is_kept_beside_the_others(self, api, database, numbers, odd):
        number = next(iter(numbers))
        assert deliver(api, body(number, odd, "w.good")).json() == {"events": 2, "unrouted": 0}
        assert "w.good" in [key for key, _ in stored(database, numbers[number])]

    def test_many_numbers_in_one_body_are_each_looked_up(self, api, database, numbers):
        changes = [json.loads(body(number, f"w.{number}"))["entry"][0] for number in [*numbers, *map(str, range(500))]]
        answer = deliver(api, json.dumps({"entry": changes}).encode())
        assert answer.json() == {"events": 502, "unrouted": 500}

    def test_a_number_nobody_registered_is_acknowledged_and_counted(self, api):
        answer = deliver(api, body("404404", "w.1"))
        assert (answer.status_code, answer.json()["unrouted"]) == (200, 1)

    def test_a_body_beyond_the_limit_is_a_413(self, api, numbers):
        assert deliver(api, body(next(iter(numbers)), "w.1", text="x" * 3_100_000)).status_code == 413

    @pytest.mark.parametrize("text", ["nul \x00 inside", "half \ud83d", "backslash \\u0000 kept", "whole 🎉"])
    def test_text_that_postgresql_cannot_hold_is_kept_without_it(self, api, database, numbers, text):
        number = next(iter(numbers))
        assert deliver(api, body(number, f"w.{uuid.uuid4()}", text=text)).status_code == 200
        ((_, payload),) = stored(database, numbers[number])
        kept = payload["value"]["messages"][0]["text"]["body"]
        assert kept == text.replace("\x00", "").encode("utf-8", "replace").decode()

    def test_a_key_longer_than_an_index_entry_is_stored(self, api, database, numbers):
        number = next(iter(numbers))
        assert deliver(api, body(number, "w." + "x" * 9000)).status_code == 200
        assert len(stored(database, numbers[number])) == 1


def test_every_captured_body_is_stored_and_none_fails(api, shared_data, numbers):
    codes = {}
    for path in sorted((shared_data / "whatsapp_webhooks").glob("[0-9]*.json")):
        codes[path.name] = deliver(api, path.read_bytes()).status_code
    assert codes
    assert set(codes.values()) == {200}
