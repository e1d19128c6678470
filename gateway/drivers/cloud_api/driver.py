"""Meta's Cloud API: POST one message at a time, no idempotency key, the answer carries the wamid."""

import asyncio
import ipaddress
import json
import os
import threading
import weakref
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar, NamedTuple
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import aiohttp

from gateway.driver import Abilities, NumberConfig
from gateway.drivers.cloud_api import webhook
from gateway.drivers.cloud_api.codec import encode
from gateway.drivers.cloud_api.templates import TEMPLATE_FIELDS, read_templates
from gateway.errors import GatewayError, NotSent, OutcomeUnknown, SendRejected, SyntheticRecipient, rejection
from gateway.types import GatewayEvent, OutboundMessage, SendReceipt, Template

API_VERSION = "v26.0"

# A server drops idle connections after 5 s; reusing one at that moment would turn a clean send into an unknown outcome.
_KEEPALIVE_SECONDS = 4.0
_MOST_PAGES = 10
_NEVER_LEFT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL)


class CloudApiDriver:
    """One number on the Cloud API, or on the simulator, which speaks the same. Safe to share between threads."""

    name: ClassVar[str] = "cloud_api"
    abilities: ClassVar[Abilities] = Abilities.NEITHER

    def __init__(self, config: NumberConfig) -> None:
        self._config = config
        self.connections = config.max_connections
        self._base_url = f"{config.base_url.rstrip('/')}/{API_VERSION}"
        self._url = f"{self._base_url}/{config.phone_number_id}/messages"
        self._is_local = _is_loopback(config.base_url)
        self._wires: WeakKeyDictionary[asyncio.AbstractEventLoop, _Wire] = WeakKeyDictionary()
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._loop_pid = 0

    def send(self, message: OutboundMessage) -> SendReceipt:
        """The receipt; blocks for at most the timeout. Raises: GatewayError."""
        result = self.send_all([message])[0]
        if isinstance(result, GatewayError):
            raise result
        return result

    async def send_batch(self, messages: Sequence[OutboundMessage]) -> list[SendReceipt | GatewayError]:
        """One result per message, in order; at most `max_connections` are on the wire at once."""
        wire = self._wire()

        async def one(message: OutboundMessage) -> SendReceipt | GatewayError:
            async with wire.gate:
                try:
                    return await self._post(wire.client, message)
                except GatewayError as error:
                    return error

        return list(await asyncio.gather(*map(one, messages)))

    def send_all(self, messages: Sequence[OutboundMessage]) -> list[SendReceipt | GatewayError]:
        """`send_batch` from synchronous code, over connections that stay open between calls. Not for use in a loop."""
        return asyncio.run_coroutine_threadsafe(self.send_batch(messages), self._own_loop()).result()

    def templates(self, business_account_id: str, name: str) -> list[Template]:
        """The account's templates of exactly this name; the provider's filter also finds names that contain it."""
        url = f"{self._base_url}/{business_account_id}/message_templates"
        return asyncio.run_coroutine_threadsafe(self._templates(url, name), self._own_loop()).result()

    def verify(self, headers: Mapping[str, str], body: bytes) -> None:
        webhook.verify(headers, body, self._config.app_secret)

    def challenge(self, query: Mapping[str, str]) -> str:
        return webhook.challenge(query, self._config.verify_token)

    def parse_webhook(self, body: bytes) -> list[GatewayEvent]:
        return webhook.parse(body)

    def parse_change(self, raw: Mapping[str, Any], received_at: datetime | None = None) -> list[GatewayEvent]:
        return webhook.parse_change(raw, received_at)

    async def aclose(self) -> None:
        """Closes the running loop's connections."""
        wire = self._wires.pop(asyncio.get_running_loop(), None)
        if wire is not None:
            await wire.client.close()

    def close(self) -> None:
        with self._lock:
            if self._loop is not None:
                self._close_loop()
                self._loop = None

    async def _post(self, client: aiohttp.ClientSession, message: OutboundMessage) -> SendReceipt:
        if message.to.is_synthetic and not self._is_local:
            raise SyntheticRecipient("a synthetic number never goes to a real provider")
        body = _TimedBody(json.dumps(encode(message)).encode(), message.not_after)
        try:
            async with client.post(self._url, data=body, allow_redirects=False) as response:
                answer = _Answer(response.status, await response.read(), response.headers.get("Retry-After", ""))
        except _NEVER_LEFT as error:
            raise NotSent(type(error).__name__, retry_after_seconds=5.0) from error
        except (aiohttp.ClientError, TimeoutError) as error:
            if body.came_too_late:
                raise NotSent("not_after has passed") from error
            raise OutcomeUnknown(type(error).__name__) from error
        return _read_answer(message, answer)

    async def _templates(self, url: str, name: str) -> list[Template]:
        try:
            # Of all pages together: the caller waits, and may hold a transaction open.
            async with asyncio.timeout(self._config.timeout_seconds):
                return await self._template_pages(url, name)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise NotSent(type(error).__name__, retry_after_seconds=5.0) from error

    async def _template_pages(self, url: str, name: str) -> list[Template]:
        client, query = self._wire().client, {"name": name, "limit": "100", "fields": TEMPLATE_FIELDS}
        found: list[Template] = []
        for _ in range(_MOST_PAGES):
            async with client.get(url, params=query, allow_redirects=False) as response:
                answer = _Answer(response.status, await response.read(), response.headers.get("Retry-After", ""))
            page = read_templates(answer.body) if answer.status == 200 else None
            if page is None:
                raise _refusal(answer)
            found += [template for template in page.templates if template.name == name]
            if page.after is None:
                break
            query["after"] = page.after
        return found

    def _wire(self) -> "_Wire":
        loop = asyncio.get_running_loop()
        wire = self._wires.get(loop)
        if wire is None:
            connections = self._config.max_connections
            connector = aiohttp.TCPConnector(limit=connections, keepalive_timeout=_KEEPALIVE_SECONDS, ttl_dns_cache=60)
            client = aiohttp.ClientSession(
                connector=connector,
                headers={"Authorization": f"Bearer {self._config.access_token}"},
                timeout=aiohttp.ClientTimeout(total=self._config.timeout_seconds),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=not self._is_local,
            )
            wire = self._wires[loop] = _Wire(client, asyncio.Semaphore(connections))
        return wire

    def _own_loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            # A forked worker inherits the object but not the thread.
            if self._loop is None or self._loop_pid != os.getpid():
                loop = asyncio.new_event_loop()
                threading.Thread(target=loop.run_forever, name="cloud-api-sends", daemon=True).start()
                self._loop, self._loop_pid = loop, os.getpid()
                # Runs when the driver is forgotten or the process ends, if `close` was not called before.
                self._close_loop = weakref.finalize(self, _close_loop, loop, self._wires, os.getpid())
            return self._loop


class _TooLate(Exception):
    """The moment after which a request may not leave has passed."""


class _TimedBody(aiohttp.BytesPayload):
    """A request's body, checked against `not_after` right before its first byte is written.

    Headers wait in a buffer for the body, so a process that was stopped since the gate, or while it waited for a
    connection, writes nothing. Between this check and the socket stands no await.
    """

    def __init__(self, value: bytes, not_after: datetime) -> None:
        super().__init__(value, content_type="application/json")
        self._not_after = not_after
        self.came_too_late = False

    async def write_with_length(self, writer: Any, content_length: int | None) -> None:
        if datetime.now(UTC) >= self._not_after:
            self.came_too_late = True
            raise _TooLate
        await super().write_with_length(writer, content_length)


class _Wire(NamedTuple):
    """One event loop's connections, and the gate that lets no send spend its timeout waiting for one."""

    client: aiohttp.ClientSession
    gate: asyncio.Semaphore


def _close_loop(
    loop: asyncio.AbstractEventLoop, wires: "WeakKeyDictionary[asyncio.AbstractEventLoop, _Wire]", pid: int
) -> None:
    wire = wires.pop(loop, None)
    if pid != os.getpid():
        return
    if wire is not None:
        asyncio.run_coroutine_threadsafe(wire.client.close(), loop).result(timeout=5)
    loop.call_soon_threadsafe(loop.stop)


class _Answer(NamedTuple):
    status: int
    body: bytes
    retry_after: str


def _read_answer(message: OutboundMessage, answer: _Answer) -> SendReceipt:
    try:
        content: Any = json.loads(answer.body)
    except ValueError:
        content = None
    if 200 <= answer.status < 300:
        try:
            provider_id = content["messages"][0]["id"]
        except (KeyError, IndexError, TypeError) as error:
            raise OutcomeUnknown("accepted without an id", http_status=answer.status) from error
        return SendReceipt(message.message_id, str(provider_id), datetime.now(UTC))
    raise _refusal(answer)


def _refusal(answer: _Answer) -> SendRejected | OutcomeUnknown:
    try:
        content: Any = json.loads(answer.body)
    except ValueError:
        content = None
    error_body = content.get("error") if isinstance(content, dict) else None
    if not isinstance(error_body, dict):
        error_body = {}
    code = error_body.get("code")
    return rejection(
        code if isinstance(code, int) else None,
        str(error_body.get("message", f"HTTP {answer.status}")),
        answer.status,
        _seconds(answer.retry_after),
    )


def _seconds(retry_after: str) -> float | None:
    """Retry-After in seconds, at most a day; None where it is absent or a date."""
    return min(float(retry_after), 86_400.0) if retry_after.isascii() and retry_after.isdigit() else None


def _is_loopback(base_url: str) -> bool:
    host = urlsplit(base_url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
