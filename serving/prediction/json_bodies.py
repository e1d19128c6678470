"""A batch as JSON, bounded before objects are made of it: a value of three bytes becomes an object of seventy.

What is read takes milliseconds here, or goes to a thread.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import orjson
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from serving.errors import ServingError, Unprocessable
from serving.prediction.json_columns import Column, read_columns
from serving.prediction.predictor import aside
from serving.prediction.schemas import BATCH, INLINE_BYTES, MAX_FIELDS, Asked, PredictBatchRequest

# Four kilobytes a person.
MAX_BATCH_BYTES = 4_000_000
# FastAPI reads no larger one.
_USUAL_BYTES = 64_000
_MAX_VALUES = BATCH * MAX_FIELDS
# Python's own reader needs twenty times a body of escaped half characters.
_MAX_LENIENT_BYTES = 2_000_000

Question = PredictBatchRequest | tuple[Asked, Mapping[str, Column]]


class BodyTooLarge(ServingError):
    status = 413
    title = "The body is larger than this route reads"


def check_size(body: bytes, most: int) -> None:
    """Raises: BodyTooLarge."""
    if len(body) > most:
        raise BodyTooLarge(f"at most {most:,} bytes")


async def read_batch(body: bytes, *, declared: bool) -> Question | None:
    """What is asked; None where FastAPI shall tell what is wrong with it. `declared` as JSON, plainly.

    Raises: BodyTooLarge, Unprocessable, RequestValidationError.
    """
    check_size(body, MAX_BATCH_BYTES)
    if not declared:
        if len(body) > _USUAL_BYTES:
            raise _refused(f"more than {_USUAL_BYTES} bytes are read as application/json only", "media_type")
        return None
    return await aside(len(body) > INLINE_BYTES, _read, body)


def _read(body: bytes) -> Question | None:
    # Each value but the first of a list or an object follows a comma.
    if len(body) > 2 * _MAX_VALUES and body.count(b",") > _MAX_VALUES:
        raise _refused(f"more than {_MAX_VALUES} values", "too_long")
    if (columns := read_columns(body)) is not None:
        return columns
    try:
        return PredictBatchRequest.model_validate(_parsed(body))
    except ValueError as error:
        if len(body) <= _USUAL_BYTES:
            return None
        if isinstance(error, ValidationError):
            found: list[Any] = error.errors(include_url=False, include_input=False)
            raise RequestValidationError([one | {"loc": ("body", *one["loc"])} for one in found]) from None
        raise _refused("it is not JSON", "json_invalid") from None


def _parsed(body: bytes) -> Any:
    """Raises: ValueError."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        if len(body) > _MAX_LENIENT_BYTES:
            raise
        # Python reads NaN and half characters too, so that field and row can be told. Its brackets nest less deep.
        try:
            return json.loads(body)
        except RecursionError as error:
            raise ValueError("it nests too deep") from error


def _refused(message: str, code: str) -> Unprocessable:
    return Unprocessable(errors=[{"field": "body", "message": message, "code": code}])
