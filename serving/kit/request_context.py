"""A request id on every answer, and one log line for every request."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable
from typing import Any

import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.kit.access_log import AccessLog
from serving.kit.clock import utc_now

REQUEST_ID = b"x-request-id"
_SAFE_ID = re.compile(rb"[A-Za-z0-9._-]{8,64}")

log = structlog.get_logger("serving.request")


class RequestContext:
    """ASGI middleware. A caller's X-Request-ID is kept when it is plain text of 8-64 characters, else one is made."""

    def __init__(
        self, app: ASGIApp, *, on_failure: Callable[[Request], Response], access_log: AccessLog | None
    ) -> None:
        self._app = app
        self._on_failure = on_failure
        self._access_log = access_log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = next((value for name, value in scope["headers"] if name == REQUEST_ID), b"")
        request_id = given.decode() if _SAFE_ID.fullmatch(given) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        started = time.perf_counter()
        status: int | None = None

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (REQUEST_ID, request_id.encode())]
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except Exception:
            log.exception("request.failed", request_id=request_id, route=_route(scope))
            if status is not None:
                raise
            # Answered here rather than by the server's own middleware, which stands outside and knows no request id.
            await self._on_failure(Request(scope))(scope, receive, send_with_id)
        finally:
            if self._access_log is not None:
                seconds = time.perf_counter() - started
                self._access_log.add(_described(scope, request_id, status, seconds), utc_now())


def _described(scope: Scope, request_id: str, status: int | None, seconds: float) -> dict[str, Any]:
    caller = scope["state"].get("caller")
    return {
        "request_id": request_id,
        "method": scope["method"],
        "route": _route(scope),
        "status": status,
        "seconds": round(seconds, 6),
        "tenant_id": caller.tenant_id if caller else None,
        "user_id": caller.user_id if caller else None,
        "api_key_id": caller.api_key_id if caller else None,
    }


def _route(scope: Scope) -> str | None:
    # The template of the route and never the path itself, which may hold a phone number. A route knows its path within
    # its router only: what the path has more, in front, is the routers' prefixes.
    route = scope.get("route")
    template: str | None = getattr(route, "path_format", None) or getattr(route, "path", None)
    path, pattern = scope["path"], getattr(route, "path_regex", None)
    if template is None or template == path or pattern is None:
        return template
    starts = (start for start, letter in enumerate(path) if letter == "/" and pattern.match(path[start:]))
    return f"{path[: next(starts, 0)]}{template}"
