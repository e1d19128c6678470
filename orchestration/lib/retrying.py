"""Errors that pass by themselves: a server restarts, a connection is cut. The step is done again, ever later."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Protocol

import dagster as dg

RETRIES = 5
FIRST_WAIT_SECONDS = 1.0
LONGEST_WAIT_SECONDS = 60.0
# By the name of their class and module: importing every driver to catch its errors would cost each run seconds.
TRANSIENT = {
    ("psycopg", "OperationalError"),
    ("psycopg", "InterfaceError"),
    ("adbc_driver_manager", "OperationalError"),
    ("sqlalchemy.exc", "OperationalError"),
    ("redis.exceptions", "ConnectionError"),
    ("redis.exceptions", "TimeoutError"),
}


class Retried(Protocol):
    @property
    def retry_number(self) -> int: ...


def is_transient(error: BaseException) -> bool:
    """Whether doing the same again later may succeed."""
    seen: BaseException | None = error
    while seen is not None:
        if any((kind.__module__, kind.__name__) in TRANSIENT for kind in type(seen).__mro__):
            return True
        seen = seen.__cause__
    return False


def wait_seconds(retry_number: int) -> float:
    """How long to wait before the retry with this number, the first being 0."""
    return min(FIRST_WAIT_SECONDS * float(2**retry_number), LONGEST_WAIT_SECONDS)


@contextlib.contextmanager
def transient_errors_retried(context: Retried) -> Iterator[None]:
    """Asks Dagster to do the step again after a transient error, RETRIES times at most; other errors pass through."""
    try:
        yield
    except Exception as error:
        if not is_transient(error):
            raise
        raise dg.RetryRequested(max_retries=RETRIES, seconds_to_wait=wait_seconds(context.retry_number)) from error
