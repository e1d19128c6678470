"""The product's own processes as the commands see them: wanted, asked for their health, stopped whole.

The supervisor starts them and keeps them running; the commands write what is wanted into `state.json` and wake it up.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from signal import Signals

import psutil

from orchestration.runtime import procfile, record, servers
from orchestration.runtime.environment import make_folders
from orchestration.runtime.home import PROJECT_ROOT, Home
from orchestration.runtime.privacy import UMASK
from orchestration.runtime.process_table import CHILDREN_SECONDS, MARK, STOP_SECONDS, end, kill

START_SECONDS = 90.0
SETTLE_SECONDS = 2.0
# It may be ending all that was started with other settings, or starting a database again.
TAKEN_UP_SECONDS = 90.0
POLL_SECONDS = 0.1


class ProcessFailed(Exception):
    """A process ended, or did not become healthy in time; the text names its log."""


@dataclass(frozen=True)
class Status:
    """`started`: it was started and not stopped since, so it ought to be healthy. `restarts` since then, `exit_code` of
    its last end (minus the signal's number), `next_try_seconds` from now while it waits to be started again."""

    name: str
    pid: int | None
    address: str | None
    healthy: bool
    started: bool = False
    restarts: int = 0
    exit_code: int | None = None
    next_try_seconds: float | None = None

    @property
    def state(self) -> str:
        if self.healthy:
            return "running"
        if self.pid is not None:
            return "not answering"
        if self.next_try_seconds is not None:
            return "restarting"
        return "ended" if self.started else "stopped"

    @property
    def last_exit(self) -> str:
        """The last end in words, empty when there was none."""
        if self.exit_code is None:
            return ""
        if self.exit_code >= 0:
            return f"code {self.exit_code}"
        with contextlib.suppress(ValueError):
            return Signals(-self.exit_code).name
        return f"signal {-self.exit_code}"


def start(home: Home, wanted: Iterable[str], extra_environment: dict[str, str] | None = None) -> None:
    """Wants these beside what is wanted already; returns when all have been started. `wait_healthy` says when they can
    be used.

    What runs already is left alone, unless a setting has changed: then all are started anew. What waits to be restarted
    is tried at once. `extra_environment` is remembered for later starts. Raises ProcessFailed, SettingUnusable.
    """
    make_folders(home)
    told = record.read(home)
    watching = record.supervisor(home)
    if watching is None:
        end(home.path, procfile.names())
    running = [] if watching is None else [name for name, entry in told.entries.items() if record.living(entry)]
    state = home.state()
    extra = state.get("extra_environment", {}) | (extra_environment or {})
    home.remember(extra_environment=extra)
    # Of all of them at once: one is told where another will answer, and would have to start anew when that came later.
    servers.reserve_ports(home, running)
    known = [*state.get("wanted", []), *wanted]
    if watching is not None and procfile.digest(procfile.settings(home)) != told.digest:
        # The supervisor has the environment that it was started with.
        stop(home, procfile.names())
        watching = None
    procfile.settings(home)
    generation = state.get("generation", 0) + 1
    home.remember(wanted=[name for name in procfile.names() if name in known], generation=generation)
    if watching is None:
        watching = _start_supervisor(home)
    else:
        watching.send_signal(signal.SIGHUP)
    _wait_taken_up(home, generation, watching)


def wait_healthy(home: Home, wanted: Iterable[str], on_ready: Callable[[str], None] = lambda name: None) -> None:
    """Returns when all answer. Raises ProcessFailed for one that ended or took longer than START_SECONDS."""
    waiting = list(wanted)
    deadline = time.monotonic() + START_SECONDS
    while waiting:
        # A process without an address counts when it has outlived the start of those that have one.
        servers_wait = any(name in servers.HEALTH for name in waiting)
        for name in list(waiting):
            current = status(home, name)
            if current.exit_code is not None and current.pid is None:
                raise ProcessFailed(
                    f"{name} ended ({current.last_exit}); see {home.logs / f'{name}.log'}: {_last_line(home, name)}"
                )
            settled = name in servers.HEALTH or (not servers_wait and _age(home, name) > SETTLE_SECONDS)
            if current.healthy and settled:
                waiting.remove(name)
                on_ready(name)
        if waiting and time.monotonic() > deadline:
            raise ProcessFailed(f"{', '.join(waiting)} did not answer in {START_SECONDS:.0f} s; see {home.logs}")
        time.sleep(POLL_SECONDS)


def status(home: Home, name: str) -> Status:
    entry = record.read(home).entries.get(name) or record.Entry()
    process = record.living(entry)
    healthy = process is not None and (name not in servers.HEALTH or servers.answers(home, name))
    waits = None
    # Nobody waits for it any more when the supervisor is gone.
    if entry.next_try_at is not None and record.supervisor(home) is not None:
        waits = round(max(entry.next_try_at - time.time(), 0.0), 1)
    return Status(
        name=name,
        pid=process.pid if process else None,
        address=servers.address(home, name),
        healthy=healthy,
        started=name in home.state().get("wanted", []),
        restarts=entry.restarts,
        exit_code=entry.exit_code,
        next_try_seconds=waits,
    )


def supervisor_status(home: Home) -> Status:
    process = record.supervisor(home)
    wanted = bool(home.state().get("wanted"))
    return Status(record.NAME, process.pid if process else None, None, process is not None, wanted)


def stop(home: Home, wanted: Iterable[str]) -> list[str]:
    """The names of those that ran; they and all their children are gone, and are not started again. The supervisor
    ends with the last."""
    wanted = set(wanted)
    state = home.state()
    left = [name for name in state.get("wanted", []) if name not in wanted]
    generation = state.get("generation", 0) + 1
    home.remember(wanted=left, generation=generation)
    ran = {name for name, entry in record.read(home).entries.items() if record.living(entry)} & wanted
    watching = record.supervisor(home)
    if watching is not None and left:
        watching.send_signal(signal.SIGHUP)
        _wait_taken_up(home, generation, watching)
    elif watching is not None:
        watching.terminate()
        psutil.wait_procs([watching], timeout=STOP_SECONDS + CHILDREN_SECONDS + 5)
        kill([watching])
    ran |= set(end(home.path, wanted))
    return [name for name in procfile.names() if name in ran]


def _start_supervisor(home: Home) -> psutil.Process:
    with (home.logs / f"{record.NAME}.log").open("ab") as log:
        started = subprocess.Popen(
            [sys.executable, "-m", "orchestration.runtime.supervisor", str(home.path), str(procfile.PROCFILE)],
            cwd=PROJECT_ROOT,
            env=os.environ | {"RAPPORT_HOME": str(home.path), MARK: record.NAME},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            umask=UMASK,
        )
    return psutil.Process(started.pid)


def _wait_taken_up(home: Home, generation: int, watching: psutil.Process) -> None:
    deadline = time.monotonic() + TAKEN_UP_SECONDS
    while record.read(home).generation < generation:
        if not watching.is_running() or watching.status() == psutil.STATUS_ZOMBIE or time.monotonic() > deadline:
            raise ProcessFailed(f"the supervisor did not start what is wanted; see {home.logs / 'supervisor.log'}")
        time.sleep(POLL_SECONDS)


def _age(home: Home, name: str) -> float:
    """Seconds since the process started."""
    return time.time() - record.read(home).entries[name].created


def _last_line(home: Home, name: str) -> str:
    with (home.logs / f"{name}.log").open("rb") as log:
        log.seek(0, os.SEEK_END)
        log.seek(max(0, log.tell() - 4096))
        lines = [line for line in log.read().decode(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "(nothing)"
