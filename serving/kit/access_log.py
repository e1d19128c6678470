"""One JSON line for every request, in the form of the other log lines.

Formatting such a line the way of the others takes longer than a prediction does. These are made of what is known
already and handed to standard output together, so at most FLUSH_SECONDS late; a process that is killed loses those.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import sys
from typing import Any

import pydantic_core

FLUSH_SECONDS = 0.2
_NAME = "serving.request"


class AccessLog:
    """Not for threads: it is written to on the event loop."""

    def __init__(self) -> None:
        self._lines: list[bytes] = []
        self._level = logging.getLogger(_NAME)

    def add(self, event: dict[str, Any], now: dt.datetime) -> None:
        """Notes an answered request, unless such lines are not wanted at the level configured."""
        if not self._level.isEnabledFor(logging.INFO):
            return
        if not self._lines:
            asyncio.get_running_loop().call_later(FLUSH_SECONDS, self.flush)
        stamp = now.isoformat().replace("+00:00", "Z")
        told = {"event": "request.answered", **event, "logger": _NAME, "level": "info", "timestamp": stamp}
        self._lines.append(pydantic_core.to_json(told))

    def flush(self) -> None:
        """Writes what waits; called once more before the process ends."""
        if self._lines:
            taken, self._lines = self._lines, []
            sys.stdout.write(b"\n".join([*taken, b""]).decode())
            sys.stdout.flush()
