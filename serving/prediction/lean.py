"""A route that answers plain requests itself and leaves everything else to FastAPI.

Resolving parameters and dependencies costs FastAPI more than a prediction costs. A LeanRoute first offers the request
to a handler; where that gives None (a body that is not what it should be, another media type, a wrong method) the
request goes the usual way, body and all, so that refusals are FastAPI's own and OpenAPI describes both.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from serving.auth.caller import Caller, Role
from serving.auth.dependencies import at_least, current_caller
from serving.kit.clock import request_time, utc_now

Lean = Callable[[Request, bytes], Awaitable[bytes | Response | None]]
_LEAN = "__lean__"


def lean(handler: Lean) -> Callable[[Any], Any]:
    """Marks an endpoint: its route asks `handler(request, body)` first: for the JSON of a 200, a response, or None."""

    def marked(endpoint: Any) -> Any:
        setattr(endpoint, _LEAN, handler)
        return endpoint

    return marked


class LeanRoute(APIRoute):
    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        handler: Lean | None = getattr(self.endpoint, _LEAN, None)
        if handler is None or scope["method"] not in (self.methods or ()):
            await super().handle(scope, receive, send)
            return
        body, ended = await _body(receive)
        answer = await handler(Request(scope), body) if ended else None
        if answer is None:
            await super().handle(scope, _again(body, ended, receive), send)
            return
        if isinstance(answer, Response):
            await answer(scope, receive, send)
            return
        headers = [(b"content-length", b"%d" % len(answer)), (b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})


async def caller_of(request: Request, role: Role) -> tuple[Caller, dt.datetime]:
    """Who calls, and when, as the dependencies of an ordinary endpoint find out. Raises: as `current_caller`,
    Forbidden."""
    overrides = request.app.dependency_overrides
    now = await overrides[request_time]() if request_time in overrides else utc_now()
    given = {b"authorization": None, b"x-api-key": None, b"x-tenant": None}
    for name, value in request.scope["headers"]:
        if name in given:
            given[name] = value.decode("latin-1")
    caller = await current_caller(
        request,
        request.app.state.authenticator,
        now,
        given[b"authorization"],
        given[b"x-api-key"],
        given[b"x-tenant"],
    )
    return await at_least(role)(caller), now


def is_json(request: Request) -> bool:
    """Whether the body is declared as plain JSON."""
    for name, value in request.scope["headers"]:
        if name == b"content-type":
            return bool(value == b"application/json")
    return False


async def _body(receive: Receive) -> tuple[bytes, bool]:
    """The body, and whether it came to its end."""
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return b"".join(parts), False
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return parts[0] if len(parts) == 1 else b"".join(parts), True


def _again(body: bytes, ended: bool, receive: Receive) -> Receive:
    """A `receive` that gives the body once more, then what comes after it."""
    held: list[Message] = [{"type": "http.request", "body": body, "more_body": not ended}]
    if not ended:
        held.append({"type": "http.disconnect"})

    async def replayed() -> Message:
        return held.pop(0) if held else await receive()

    return replayed
