"""uvicorn's HTTP protocol with bounds on what a client may hold: time, headers, address, connections.

uvicorn closes a connection that is idle after an answer; one that never sends its first request, or sends it a byte at
a time, it keeps for good.
"""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from serving.settings import settings

MAX_URL_BYTES = 8_192
MAX_HEADERS = 100
MAX_HEAD_BYTES = 32_768
# Of a body this many bytes earn one more second.
BYTES_PER_SECOND = 65_536
LOOK_SECONDS = 1.0


class BoundedProtocol(HttpToolsProtocol):
    """`_due` is when what has begun must have come whole, on the loop's clock; None while the server has its turn."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        bounds = settings()
        self._head_seconds = bounds.request_head_seconds
        self._body_seconds = bounds.request_body_seconds
        self._max_body = bounds.max_body_bytes
        self._max_connections = bounds.max_connections
        self._due: float | None = None
        self._in_head = True
        self._late = False
        self._head_bytes = 0
        self._unread = 0
        self._refusal: int | None = None
        self._watch: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        if len(self.connections) >= self._max_connections:
            _make_room(self.connections)
        super().connection_made(transport)
        if len(self.connections) > self._max_connections:
            self._refuse(503)
            return
        self._due = self.loop.time() + self._head_seconds
        self._watch = self.loop.call_later(LOOK_SECONDS, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._watch is not None:
            self._watch.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refusal is not None:
            return
        if self._due is None:
            self._due = self.loop.time() + self._head_seconds
        super().data_received(data)
        if self._in_head and self._due is not None and self._refusal is None:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse(431)

    def on_message_begin(self) -> None:
        self._in_head = True
        self._head_bytes = self._unread = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        if len(self.url) > MAX_URL_BYTES:
            self._stop(414)

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        self._head_bytes += len(name) + len(value)
        if len(self.headers) > MAX_HEADERS or self._head_bytes > MAX_HEAD_BYTES:
            self._stop(431)

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._head_bytes = 0
        self._due = self.loop.time() + self._body_seconds
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if self._due is not None:
            self._due += len(body) / BYTES_PER_SECOND
        if self.cycle.response_complete:
            # Answered before it was read, a refusal most likely: the rest is dropped as it comes, up to a body's limit.
            self._unread += len(body)
            if self._unread > self._max_body:
                self.transport.close()
            return
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_head = True
        self._due = None
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        self._refuse(self._refusal or 400)

    def waits_since(self) -> float | None:
        """When the rest of a request was due, for a client that owes it and has been promised nothing; else None."""
        answering = self.cycle is not None and not self.cycle.response_complete
        return None if answering and not self.cycle.more_body else self._due

    def _look(self) -> None:
        self._watch = self.loop.call_later(LOOK_SECONDS, self._look)
        due = self.waits_since()
        if due is None or self.loop.time() < due:
            self._late = False
        elif not self._late:
            # Once more: the server itself may have been busy while the rest lay in the socket.
            self._late = True
        else:
            self._refuse(408)

    def _stop(self, status: int) -> None:
        """Ends the parsing; what the parser calls next is `send_400_response`."""
        self._refusal = status
        raise ValueError(status)

    def _refuse(self, status: int) -> None:
        """Answers, unless an answer has begun, and hangs up."""
        self._refusal = status
        self._due = None
        if self._watch is not None:
            self._watch.cancel()
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            phrase = HTTPStatus(status).phrase
            body = json.dumps({"type": "about:blank", "title": phrase, "status": status}).encode()
            self.transport.write(
                b"HTTP/1.1 %d %s\r\ncontent-type: application/problem+json\r\ncontent-length: %d\r\n"
                b"connection: close\r\n\r\n%s" % (status, phrase.encode(), len(body), body)
            )
        if self.cycle is not None and not self.cycle.response_complete:
            # The endpoint that waits for the body learns that nobody is there any more.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.close()


def _make_room(connections: set[Any]) -> None:
    """Hangs up on who owes the rest of a request for the longest time."""
    owing = [(due, id(held), held) for held in connections if (due := held.waits_since()) is not None]
    if owing:
        _, _, held = min(owing)
        held.transport.abort()
        connections.discard(held)
