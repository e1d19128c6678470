"""What passes by itself is tried again, ever later; what does not is told at once."""

from __future__ import annotations

from dataclasses import dataclass

import adbc_driver_postgresql.dbapi
import dagster as dg
import psycopg
import pytest
import redis

from orchestration.lib.retrying import RETRIES, is_transient, transient_errors_retried, wait_seconds

NOBODY_LISTENS = "postgresql://someone:secret@127.0.0.1:9/there"


@dataclass
class Context:
    retry_number: int = 0


def psycopg_refused() -> None:
    psycopg.connect(NOBODY_LISTENS)


def adbc_refused() -> None:
    adbc_driver_postgresql.dbapi.connect(NOBODY_LISTENS)


def redis_refused() -> None:
    redis.Redis(port=9).ping()


class TestTransientErrorsRetried:
    @pytest.mark.parametrize("refused", [psycopg_refused, adbc_refused, redis_refused])
    def test_a_server_that_is_away_is_asked_again(self, refused) -> None:
        with pytest.raises(dg.RetryRequested) as asked, transient_errors_retried(Context(2)):
            refused()
        assert (asked.value.max_retries, asked.value.seconds_to_wait) == (RETRIES, wait_seconds(2))

    def test_other_errors_pass_through(self) -> None:
        with pytest.raises(ZeroDivisionError), transient_errors_retried(Context()):
            _ = 1 / 0

    def test_each_wait_is_longer_up_to_a_limit(self) -> None:
        waits = [wait_seconds(number) for number in range(10)]
        assert waits == sorted(waits)
        assert waits[:3] == [1, 2, 4]
        assert waits[-1] == 60

    def test_the_cause_counts(self) -> None:
        error = RuntimeError("could not ask")
        assert not is_transient(error)
        error.__cause__ = psycopg.OperationalError("the server closed the connection")
        assert is_transient(error)

    def test_a_step_succeeds_once_the_server_is_back(self) -> None:
        tried: list[int] = []

        @dg.op
        def asking(context) -> None:
            tried.append(context.retry_number)
            with transient_errors_retried(context):
                if context.retry_number == 0:
                    psycopg_refused()

        @dg.job
        def ask() -> None:
            asking()

        assert ask.execute_in_process().success
        assert tried == [0, 1]
