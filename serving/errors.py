"""What can go wrong, as facts that carry their HTTP status, and how they are told: RFC 9457 problem documents."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, ClassVar

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict
from redis.exceptions import RedisError
from sqlalchemy.exc import DataError
from starlette.exceptions import HTTPException

log = logging.getLogger(__name__)

PROBLEM_JSON = "application/problem+json"


class Problem(BaseModel):
    """A problem document. `type` is stable; further members hold the error's own fields."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str | None = None
    request_id: str | None = None


class FieldError(BaseModel):
    """`code` is stable, `message` is for people."""

    field: str
    message: str
    code: str


class ValidationProblem(Problem):
    """A problem document of status 422. `errors` names each field, where the fault is a field's."""

    errors: list[FieldError] = []


class ServingError(Exception):
    """Base of the package's errors. A subclass states a fact; its keyword arguments become members of the problem."""

    status: ClassVar[int] = 500
    title: ClassVar[str] = "The request failed"

    def __init__(self, detail: str | None = None, **fields: Any) -> None:
        super().__init__(detail or self.title)
        self.detail = detail
        self.fields = fields

    @classmethod
    def type_uri(cls) -> str:
        return "urn:rapport:problem:" + re.sub(r"(?<!^)(?=[A-Z])", "-", cls.__name__).lower()

    def headers(self) -> dict[str, str]:
        return {}


class BadRequest(ServingError):
    status = 400
    title = "The request cannot be understood"


class Unauthenticated(ServingError):
    status = 401
    title = "Credentials are missing or not valid"

    def headers(self) -> dict[str, str]:
        return {"WWW-Authenticate": "Bearer"}


class Forbidden(ServingError):
    status = 403
    title = "Your role does not allow this"


class NotFound(ServingError):
    """Also the answer for another tenant's row: whether it exists is not told."""

    status = 404
    title = "There is no such thing here"


class Conflict(ServingError):
    status = 409
    title = "The request contradicts the current state"


class Unprocessable(ServingError):
    """`errors` names each field as a validation error does: [{"field", "message", "code"}]."""

    status = 422
    title = "A value is not acceptable"


class TooManyRequests(ServingError):
    status = 429
    title = "Too many requests"

    def __init__(self, retry_after_seconds: int, detail: str | None = None) -> None:
        super().__init__(detail, retry_after_seconds=retry_after_seconds)
        self.retry_after_seconds = retry_after_seconds

    def headers(self) -> dict[str, str]:
        return {"Retry-After": str(self.retry_after_seconds)}


class Unavailable(ServingError):
    status = 503
    title = "The service cannot answer now"

    def headers(self) -> dict[str, str]:
        return {"Retry-After": "1"}


def problems(*errors: type[ServingError]) -> dict[int | str, dict[str, Any]]:
    """The `responses=` of a route that may raise `errors`, for OpenAPI."""
    titles: dict[int, list[str]] = {}
    for error in errors:
        titles.setdefault(error.status, []).append(error.title)
    return {
        status: {
            "description": "; ".join(texts),
            "content": {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status, texts in titles.items()
    }


def install(app: FastAPI) -> None:
    app.add_exception_handler(ServingError, _serving_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(DataError, _data_error)
    app.add_exception_handler(RedisError, _redis_error)


class _ProblemResponse(JSONResponse):
    """JSON that may repeat half a character out of a request, escaped as it came: UTF-8 has none."""

    media_type = PROBLEM_JSON

    def render(self, content: Any) -> bytes:
        told = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return told.encode("utf-8", "backslashreplace")


def problem_response(
    request: Request, *, status: int, type_: str, title: str, detail: str | None = None,
    headers: dict[str, str] | None = None, **fields: Any,
) -> JSONResponse:  # fmt: skip
    body = {"type": type_, "title": title, "status": status, "detail": detail}
    body["request_id"] = request.scope.get("state", {}).get("request_id")
    body = {name: value for name, value in body.items() if value is not None} | fields
    return _ProblemResponse(body, status, headers)


async def _serving_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ServingError)  # noqa: S101 - the handler is registered for this class
    return problem_response(
        request, status=error.status, type_=error.type_uri(), title=error.title, detail=error.detail,
        headers=error.headers(), **error.fields,
    )  # fmt: skip


async def _validation_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - the handler is registered for this class
    errors = [{"field": _field(item["loc"]), "message": item["msg"], "code": item["type"]} for item in error.errors()]
    return problem_response(
        request, status=422, type_=Unprocessable.type_uri(), title=Unprocessable.title, errors=errors
    )


async def _http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - the handler is registered for this class
    return problem_response(
        request, status=error.status_code, type_="about:blank", title=HTTPStatus(error.status_code).phrase,
        headers=dict(error.headers or {}),
    )  # fmt: skip


async def _data_error(request: Request, _error: Exception) -> JSONResponse:
    # PostgreSQL stores no NUL, no lone surrogate and no number out of its type's range, wherever in a request it stood.
    return problem_response(
        request, status=422, type_=Unprocessable.type_uri(), title=Unprocessable.title, detail="it cannot be stored"
    )


async def _redis_error(request: Request, error: Exception) -> JSONResponse:
    log.warning("redis.failing", extra={"error": type(error).__name__})
    return await _serving_error(request, Unavailable("Redis does not answer"))


def body_too_large(request: Request) -> JSONResponse:
    return problem_response(request, status=413, type_="about:blank", title=HTTPStatus(413).phrase)


def unexpected(request: Request) -> JSONResponse:
    """The answer to an error nobody foresaw. The traceback is in the log; the caller can ask by the request id."""
    return problem_response(request, status=500, type_="about:blank", title=HTTPStatus.INTERNAL_SERVER_ERROR.phrase)


def _field(location: Sequence[str | int]) -> str:
    parts = [str(part) for part in location]
    return ".".join(parts[1:] if len(parts) > 1 and parts[0] in ("body", "query", "path", "header") else parts)
