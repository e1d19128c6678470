"""What the supervisor writes down of the processes it keeps running: `supervisor.json`, which nobody else writes."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any

import psutil

from orchestration.runtime.home import Home, HomeUnusable, read_json, write_atomically
from orchestration.runtime.process_table import marked

NAME = "supervisor"


@dataclass
class Entry:
    """One process. Times are seconds since 1970; `digest` is of the settings it was started with.

    `restarts` counts since the product was started, `failures` those since it last ran well. `exit_code` is of the last
    end (minus the signal's number when a signal ended it), `next_try_at` None while it runs.
    """

    pid: int | None = None
    created: float = 0.0
    digest: str = ""
    restarts: int = 0
    failures: int = 0
    exit_code: int | None = None
    next_try_at: float | None = None


@dataclass
class Record:
    """`generation` is the newest wish (of `state.json`) that was acted on."""

    generation: int = -1
    digest: str = ""
    entries: dict[str, Entry] = field(default_factory=dict)

    def write(self, home: Home) -> None:
        write_atomically(home.path / "supervisor.json", json.dumps(dataclasses.asdict(self), indent=1))


def read(home: Home) -> Record:
    """The newest record; empty when there is none, or one of another version."""
    try:
        found: dict[str, Any] = read_json(home.path / "supervisor.json", "")
        entries = {name: Entry(**entry) for name, entry in found.pop("entries", {}).items()}
        return Record(entries=entries, **found)
    except (HomeUnusable, TypeError, AttributeError):
        return Record()


def living(entry: Entry | None) -> psutil.Process | None:
    """The process itself; never another that got its number since."""
    if entry is None or entry.pid is None:
        return None
    try:
        process = psutil.Process(entry.pid)
        if abs(process.create_time() - entry.created) > 1 or process.status() == psutil.STATUS_ZOMBIE:
            return None
    except psutil.NoSuchProcess:
        return None
    return process


def supervisor(home: Home) -> psutil.Process | None:
    """The living supervisor of this RAPPORT_HOME."""
    found = [process for name, process in marked(home.path).values() if name == NAME]
    # What it has forked wears its mark until it becomes the process it will be.
    return min(found, key=lambda process: process.create_time(), default=None)
