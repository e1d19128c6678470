"""Meta's Cloud API: POST one message at a time, no idempotency key, the answer carries the wamid."""

import asyncio
import ipaddress
import os
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import httpx

from gateway.driver import Abilities, NumberConfig
from gateway.drivers.cloud_api import webhook
from gateway.drivers.cloud_api.codec import encode
from gateway.errors import GatewayError, NotSent, OutcomeUnknown, SyntheticRecipient, rejection
from gateway.types import GatewayEvent, OutboundMessage, SendReceipt

API_VERSION = "v26.0"

# A server drops idle connections after 5 s; reusing one at that moment would turn a clean send into an unknown outcome.
_KEEPALIVE_SECONDS = 4.0
_NEVER_LEFT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol, httpx.InvalidURL)


class CloudApiDriver:
    """One number on the Cloud API, or on the simulator, which speaks the same. Safe to share between threads."""

    name: ClassVar[str] = "cloud_api"
    abilities: ClassVar[Abilities] = Abilities.NEITHER

    def __init__(self, config: NumberConfig) -> None:
        self._config = config
        self._url = f"{config.base_url.rstrip('/')}/{API_VERSION}/{config.phone_number_id}/messages"
        self._is_local = _is_loopback(config.base_url)
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, httpx.AsyncClient] = WeakKeyDictionary()
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
        client = self._client()
        gate = asyncio.Semaphore(self._config.max_connections)

        async def one(message: OutboundMessage) -> SendReceipt | GatewayError:
            async with gate:
                try:
                    return await self._post(client, message)
                except GatewayError as error:
                    return error

        return list(await asyncio.gather(*map(one, messages)))

    def send_all(self, messages: Sequence[OutboundMessage]) -> list[SendReceipt | GatewayError]:
        """`send_batch` from synchronous code, over connections that stay open between calls. Not for use in a loop."""
        return asyncio.run_coroutine_threadsafe(self.send_batch(messages), self._own_loop()).result()

    def verify(self, headers: Mapping[str, str], body: bytes) -> None:
        webhook.verify(headers, body, self._config.app_secret)

    def challenge(self, query: Mapping[str, str]) -> str:
        return webhook.challenge(query, self._config.verify_token)

    def parse_webhook(self, body: bytes) -> list[GatewayEvent]:
        return webhook.parse(body)

    def parse_change(self, raw: Mapping[str, Any]) -> list[GatewayEvent]:
        return webhook.parse_change(raw)

    async def aclose(self) -> None:
        """Closes the running loop's connections."""
        client = self._clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.aclose()

    def close(self) -> None:
        with self._lock:
            loop, self._loop = self._loop, None
            if loop is None or self._loop_pid != os.getpid():
                return
            asyncio.run_coroutine_threadsafe(self.aclose(), loop).result(timeout=5)
            loop.call_soon_threadsafe(loop.stop)

    async def _post(self, client: httpx.AsyncClient, message: OutboundMessage) -> SendReceipt:
        if message.to.is_synthetic and not self._is_local:
            raise SyntheticRecipient("a synthetic number never goes to a real provider")
        seconds_left = (message.not_after - datetime.now(UTC)).total_seconds()
        if seconds_left <= 0:
            raise NotSent("not_after has passed")
        try:
            # httpx times each phase apart; the whole exchange must fit the lease.
            async with asyncio.timeout(self._config.timeout_seconds):
                response = await client.post(self._url, json=encode(message))
        except _NEVER_LEFT as error:
            raise NotSent(type(error).__name__, retry_after_seconds=5.0) from error
        except (httpx.HTTPError, TimeoutError) as error:
            raise OutcomeUnknown(type(error).__name__) from error
        return _read_answer(message, response)

    def _client(self) -> httpx.AsyncClient:
        loop = asyncio.get_running_loop()
        client = self._clients.get(loop)
        if client is None:
            connections = self._config.max_connections
            limits = httpx.Limits(
                max_connections=connections, max_keepalive_connections=connections, keepalive_expiry=_KEEPALIVE_SECONDS
            )
            client = self._clients[loop] = httpx.AsyncClient(
                headers={"Authorization": f"Bearer {self._config.access_token}"},
                timeout=self._config.timeout_seconds,
                limits=limits,
                trust_env=not self._is_local,
            )
        return client

    def _own_loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            # A forked worker inherits the object but not the thread.
            if self._loop is None or self._loop_pid != os.getpid():
                loop = asyncio.new_event_loop()
                threading.Thread(target=loop.run_forever, name="cloud-api-sends", daemon=True).start()
                self._loop, self._loop_pid = loop, os.getpid()
            return self._loop


def _read_answer(message: OutboundMessage, response: httpx.Response) -> SendReceipt:
    try:
        answer: Any = response.json()
    except ValueError:
        answer = None
    if response.is_success:
        try:
            provider_id = answer["messages"][0]["id"]
        except (KeyError, IndexError, TypeError) as error:
            raise OutcomeUnknown("accepted without an id", http_status=response.status_code) from error
        return SendReceipt(message.message_id, str(provider_id), datetime.now(UTC))
    error_body = answer.get("error") if isinstance(answer, dict) else None
    if not isinstance(error_body, dict):
        # A proxy answered for the provider: the request may have reached it.
        if response.status_code in (502, 504):
            raise OutcomeUnknown("a proxy's error", http_status=response.status_code)
        error_body = {}
    code = error_body.get("code")
    raise rejection(
        code if isinstance(code, int) else None,
        str(error_body.get("message", f"HTTP {response.status_code}")),
        response.status_code,
        _retry_after(response),
    )


def _retry_after(response: httpx.Response) -> float | None:
    value = response.headers.get("retry-after", "")
    return float(value) if value.isdigit() else None


def _is_loopback(base_url: str) -> bool:
    host = urlsplit(base_url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
