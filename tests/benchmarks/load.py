"""Requests over keep-alive connections, as fast as the server answers them: what wrk does, with every answer judged."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import uvloop


@dataclass
class Load:
    """`latencies` in seconds, of answered requests; `failures` counts answers other than 2xx and broken connections."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    failures: int = 0

    @property
    def rate(self) -> float:
        """Successful answers a second."""
        return (len(self.latencies) - self.failures) / self.seconds

    def quantile(self, share: float) -> float:
        """Seconds within which this share of the answers came."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def request(
    method: str,
    path: str,
    body: bytes = b"",
    *,
    content_type: str = "application/json",
    **headers: str,
) -> bytes:
    """A request as it goes over the wire; headers are given with underscores."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}"]
    if body:
        lines.append(f"Content-Type: {content_type}")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def run_load(port: int, requests: Sequence[bytes], *, connections: int, seconds: float) -> Load:
    """The requests in turn over so many connections for so long; each connection waits for its answer."""
    return uvloop.run(_load(port, requests, connections, seconds))


async def _load(port: int, requests: Sequence[bytes], connections: int, seconds: float) -> Load:
    loop, load = asyncio.get_running_loop(), Load()
    started = time.perf_counter()
    until = started + seconds
    made = []
    for number in range(connections):
        _, client = await loop.create_connection(
            lambda number=number: _Client(requests, number, connections, load, until), "127.0.0.1", port
        )
        made.append(client)
    await asyncio.gather(*(client.done for client in made))
    load.seconds = time.perf_counter() - started
    return load


class _Client(asyncio.Protocol):
    def __init__(self, requests: Sequence[bytes], first: int, step: int, load: Load, until: float) -> None:
        self._requests, self._next, self._step = requests, first, step
        self._load, self._until = load, until
        self._held = b""
        self._sent_at = 0.0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._send()

    def _send(self) -> None:
        self._sent_at = time.perf_counter()
        self._transport.write(self._requests[self._next % len(self._requests)])
        self._next += self._step

    def data_received(self, data: bytes) -> None:
        held = self._held = self._held + data if self._held else data
        end = held.find(b"\r\n\r\n")
        if end < 0:
            return
        head = held[:end].lower()
        at = head.find(b"content-length:")
        length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(held) < end + 4 + length:
            return
        now = time.perf_counter()
        self._load.latencies.append(now - self._sent_at)
        self._load.failures += not head.startswith(b"http/1.1 2")
        self._held = b""
        if now < self._until:
            self._send()
        else:
            self.done.set_result(None)
            self._transport.close()

    def connection_lost(self, _error: Exception | None) -> None:
        if not self.done.done():
            self._load.failures += 1
            self.done.set_result(None)
