"""A request's line: one JSON object on standard output, soon after the answer."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import logging
import uuid

import pytest

from serving.kit.access_log import FLUSH_SECONDS, AccessLog

NOW = dt.datetime(2026, 3, 11, 12, 0, 0, 250, tzinfo=dt.UTC)


@pytest.fixture
def level():
    """The level of the lines' logger, as it was afterwards."""
    logger = logging.getLogger("serving.request")
    before = logger.level
    yield logger.setLevel
    logger.setLevel(before)


def add(count, wait):
    async def adding():
        log = AccessLog()
        for number in range(count):
            log.add({"status": 200, "number": number, "tenant_id": uuid.UUID(int=1), "route": 'a"\n'}, NOW)
        await asyncio.sleep(wait)
        return log

    return asyncio.run(adding())


def test_lines_are_written_together_and_soon(capsys, level):
    level("INFO")
    log = add(3, wait=2 * FLUSH_SECONDS)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["number"] for line in lines] == [0, 1, 2]
    assert lines[0] == {
        "event": "request.answered", "status": 200, "number": 0, "tenant_id": str(uuid.UUID(int=1)), "route": 'a"\n',
        "logger": "serving.request", "level": "info", "timestamp": "2026-03-11T12:00:00.000250Z",
    }  # fmt: skip
    log.flush()
    assert capsys.readouterr().out == ""


def test_what_waits_is_written_at_the_end(capsys, level):
    level("INFO")
    log = add(1, wait=0)
    assert capsys.readouterr().out == ""
    log.flush()
    assert json.loads(capsys.readouterr().out)["status"] == 200


def test_a_higher_level_says_nothing(capsys, level):
    level("WARNING")
    add(1, wait=0).flush()
    assert capsys.readouterr().out == ""
