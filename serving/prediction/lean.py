"""Plain requests for predictions, answered before FastAPI looks at them; everything else goes the usual way.

Finding the route and resolving parameters and dependencies costs FastAPI several times what a prediction costs. A
handler is offered the request first; where it gives None (a body that is not what it should be, another media type)
FastAPI gets the request, body and all: refusals are its own, and OpenAPI describes what both answer.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from fastapi import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.auth.caller import Caller, Role
from serving.auth.dependencies import current_caller
from serving.errors import Forbidden
from serving.kit.clock import request_time, utc_now

# By lower-case name; of several lines with one name the first, as elsewhere.
Headers = Mapping[bytes, bytes]
_JSON = {b"application/json", b"application/json; charset=utf-8", b"application/json;charset=utf-8"}
# The JSON of a 200, a whole response, or None.
Handler = Callable[[Request, Headers, bytes], Awaitable[bytes | Response | None]]


@dataclass(frozen=True, slots=True)
class _Route:
    """What the access log looks for in a scope."""

    path: str


class LeanFront:
    """ASGI middleware, the innermost. `handlers` are asked about a POST to exactly their path."""

    def __init__(self, app: ASGIApp, *, handlers: Mapping[str, Handler]) -> None:
        self._app = app
        self._routes = {path: (handler, _Route(path)) for path, handler in handlers.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = self._routes.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        # No such request has a query: FastAPI says so.
        if found is None or scope["query_string"]:
            await self._app(scope, receive, send)
            return
        handler, scope["route"] = found
        request = Request(scope)
        headers = dict(reversed(scope["headers"]))
        body, ended = b"", False
        try:
            # Nobody's body is read before it is known who calls; the handler's own question is answered from memory.
            await caller_of(request, headers, Role.SALES)
            body, ended = await _body(receive)
            answer = await handler(request, headers, body) if ended else None
        except Exception as error:
            answer = await _problem(request, error)
        if answer is None:
            await self._app(scope, _again(body, ended, receive), send)
        elif isinstance(answer, Response):
            await answer(scope, receive, send)
        else:
            told = [(b"content-length", b"%d" % len(answer)), (b"content-type", b"application/json")]
            await send({"type": "http.response.start", "status": 200, "headers": told})
            await send({"type": "http.response.body", "body": answer})


async def caller_of(request: Request, headers: Headers, role: Role) -> tuple[Caller, dt.datetime]:
    """Who calls, and when, as the dependencies of an ordinary endpoint find out. Raises: as `current_caller`,
    Forbidden."""
    app = request.scope["app"]
    overrides = app.dependency_overrides
    now = await overrides[request_time]() if request_time in overrides else utc_now()
    caller = await current_caller(
        request,
        app.state.authenticator,
        now,
        _text(headers, b"authorization"),
        _text(headers, b"x-api-key"),
        _text(headers, b"x-tenant"),
    )
    if not caller.may(role):
        raise Forbidden(required_role=role.value)
    return caller, now


def is_json(headers: Headers) -> bool:
    """Whether the body is declared as plain JSON."""
    return headers.get(b"content-type") in _JSON


def _text(headers: Headers, name: bytes) -> str | None:
    value = headers.get(name)
    return None if value is None else value.decode("latin-1")


async def _problem(request: Request, error: Exception) -> Response:
    """The answer the application has for such an error; the error itself when it has none."""
    for kind in type(error).__mro__[:-2]:
        handler = request.app.exception_handlers.get(kind)
        if handler is not None:
            answer: Response = await handler(request, error)
            return answer
    raise error


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
