"""What an endpoint of ours does before it reads a body: it finds out who calls, and refuses what it does not know.

FastAPI reads and parses a body before it asks for credentials, and leaves unknown query parameters alone. Here a
request without valid credentials costs its headers only, and a typing error in a filter is told instead of ignored.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, get_args, get_origin

from fastapi import Request, params
from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import get_flat_params
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Message

from serving.auth.dependencies import current_caller, known_caller
from serving.errors import Unprocessable

# A user name, a password and the form around them.
ANONYMOUS_BODY_BYTES = 8_192


class Route(APIRoute):
    """Authenticates before the body is read where the endpoint depends on a caller; elsewhere reads a small body only.

    Raises, as problem documents: what `current_caller` raises, 413, and Unprocessable for a query parameter that the
    endpoint does not declare, or that is given twice and is no list.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        if needs_caller(self.dependant):
            self.openapi_extra = {"security": [{"bearer": []}, {"apiKey": []}]} | (self.openapi_extra or {})

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        answer = super().get_route_handler()
        queries = [field for field in get_flat_params(self.dependant) if isinstance(field.field_info, params.Query)]
        # Whether a parameter may be given more than once.
        known = {field.alias: _is_list(field.field_info.annotation) for field in queries}
        has_caller = needs_caller(self.dependant)

        async def admitted(request: Request) -> Response:
            if has_caller:
                await known_caller(request)
            else:
                request = _with_small_body(request)
            if request.scope["query_string"]:
                _check_query(request, known)
            try:
                return await answer(request)
            except RecursionError as error:
                raise RequestValidationError(_TOO_DEEP) from error

        return admitted


class ProviderRoute(APIRoute):
    """An endpoint whose form the provider decides: its query is not ours to refuse, its body has a limit of its own and
    is verified by its signature before it is parsed."""


def needs_caller(dependant: Dependant) -> bool:
    return any(call is current_caller for call in _calls(dependant))


def _calls(dependant: Dependant) -> Iterator[Callable[..., Any] | None]:
    for part in dependant.dependencies:
        yield part.call
        yield from _calls(part)


_TOO_DEEP = [{"type": "json_too_deep", "loc": ("body",), "msg": "the JSON is nested too deeply"}]


def _is_list(annotation: Any) -> bool:
    """Whether a list is among what the annotation allows."""
    return annotation is list or get_origin(annotation) is list or any(map(_is_list, get_args(annotation)))


def _check_query(request: Request, known: dict[str, bool]) -> None:
    given = Counter(name for name, _ in request.query_params.multi_items())
    errors = [
        {"field": name, "message": _advice(known), "code": "unknown_parameter"} for name in given if name not in known
    ]
    errors += [
        {"field": name, "message": "this parameter is given once", "code": "repeated_parameter"}
        for name, times in given.items()
        if times > 1 and not known.get(name, True)
    ]
    if errors:
        raise Unprocessable(errors=errors[:20], known_parameters=sorted(known))


def _advice(known: dict[str, bool]) -> str:
    return f"there is no such parameter; there are {', '.join(sorted(known))}" if known else "there are no parameters"


def _with_small_body(request: Request) -> Request:
    """The request, whose body is refused with 413 once it is larger than anybody's without credentials needs to be."""
    declared = request.headers.get("content-length", "0")
    if not declared.isdigit() or int(declared) > ANONYMOUS_BODY_BYTES:
        raise HTTPException(413)
    left = ANONYMOUS_BODY_BYTES

    async def receive() -> Message:
        nonlocal left
        message = await request.receive()
        left -= len(message.get("body", b""))
        if left < 0:
            raise HTTPException(413)
        return message

    return Request(request.scope, receive)
