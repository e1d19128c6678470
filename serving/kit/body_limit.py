"""No request body is read beyond a limit, whatever its route."""

from __future__ import annotations

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class BodyLimit:
    """ASGI middleware. A body that declares more is refused unread; one that turns out to be more ends as if the client
    had gone away, which no endpoint takes for a complete body."""

    def __init__(self, app: ASGIApp, *, max_bytes: int, refusal: Callable[[Request], Response]) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._refusal = refusal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = None
        for name, value in scope["headers"]:
            if name == b"transfer-encoding":
                declared = None
                break
            if name == b"content-length" and declared is None:
                declared = value
        if declared is None:
            await self._counted(scope, receive, send)
        elif declared.isdigit() and int(declared) <= self._max_bytes:
            # The server reads no more of a body than was declared.
            await self._app(scope, receive, send)
        else:
            await self._refusal(Request(scope))(scope, receive, send)

    async def _counted(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A body of a length nobody told."""
        left = self._max_bytes
        started = refused = False

        async def limited() -> Message:
            nonlocal left, refused
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:
                # An answer already begun goes on; what the client sends after it is of no interest.
                refused = not started
                return {"type": "http.disconnect"}
            return message

        async def send_unless_refused(message: Message) -> None:
            nonlocal started
            if not refused:
                started = True
                await send(message)

        try:
            await self._app(scope, limited, send_unless_refused)
        except Exception:
            if not refused:
                raise
        if refused:
            await self._refusal(Request(scope))(scope, receive, send)
