"""The product's own processes: started from the Procfile, watched by their health, stopped whole."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shlex
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import psutil

from orchestration.runtime.environment import SettingUnusable, make_folders, process_environment
from orchestration.runtime.home import PROJECT_ROOT, Home
from orchestration.runtime.ports import free_port, is_free
from orchestration.runtime.process_table import MARK, kill, marked

PROCFILE = PROJECT_ROOT / "deploy" / "Procfile"
# Where each server is asked whether it is well, and the port it gets unless somebody else holds it.
HEALTH = {
    "simulator": (8010, "/simulator/health"),
    "api": (8000, "/api/v1/health/health"),
    "mlflow": (5050, "/health"),
    "dagster": (3070, "/server_info"),
}
STOP_SECONDS = 15.0
CHILDREN_SECONDS = 3.0
START_SECONDS = 90.0
SETTLE_SECONDS = 2.0
LOG_BYTES = 20_000_000


class ProcessFailed(Exception):
    """A process ended, or did not become healthy in time; the text names its log."""


@dataclass(frozen=True)
class Status:
    """`started`: it was started and not stopped since, so it ought to be healthy."""

    name: str
    pid: int | None
    address: str | None
    healthy: bool
    started: bool = False

    @property
    def state(self) -> str:
        if self.healthy:
            return "running"
        if self.pid is not None:
            return "not answering"
        return "ended" if self.started else "stopped"


def names() -> list[str]:
    return list(_commands())


def start(home: Home, wanted: Iterable[str], extra_environment: dict[str, str] | None = None) -> None:
    """Starts those that do not run; returns at once. `wait_healthy` says when they can be used.

    What runs already is left alone, unless an address or secret it was started with has changed: it is started anew.
    `extra_environment` is remembered for later starts.
    """
    commands = _commands()
    wanted = list(wanted)
    make_folders(home)
    # Orphans of processes that were killed hold their ports and queues.
    dead = {name for name in wanted if find(home, name) is None}
    kill(process for name, process in marked(home.path).values() if name in dead)
    extra = home.state().get("extra_environment", {}) | (extra_environment or {})
    # Of all of them at once: one is told where another will answer, and would have to start anew when that came later.
    home.remember(ports=_ports(home, commands), extra_environment=extra)
    settings = process_environment(home)
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
    known: dict[str, list[Any]] = home.state().get("processes", {})
    outdated = [name for name in commands if find(home, name) is not None and known[name][2:] != [digest]]
    stop(home, outdated)
    wanted = [name for name in commands if name in {*wanted, *outdated} and find(home, name) is None]
    environment = os.environ | settings | extra | _process_settings(home)
    for name in wanted:
        words = [_substitute(word, environment) for word in shlex.split(commands[name])]
        words[0] = sys.executable if words[0] == "python" else words[0]
        with _log(home, name) as log:
            process = subprocess.Popen(
                words,
                cwd=PROJECT_ROOT,
                env=environment | {MARK: name},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                umask=0o077,
            )
        known = known | {name: [process.pid, psutil.Process(process.pid).create_time(), digest]}
        home.remember(processes=known)


def wait_healthy(home: Home, wanted: Iterable[str], on_ready: Callable[[str], None] = lambda name: None) -> None:
    """Returns when all answer. Raises ProcessFailed for one that ended or took longer than START_SECONDS."""
    waiting = list(wanted)
    deadline = time.monotonic() + START_SECONDS
    while waiting:
        # A process without an address counts when it has outlived the start of those that have one.
        servers_wait = any(name in HEALTH for name in waiting)
        for name in list(waiting):
            current = status(home, name)
            if current.pid is None:
                raise ProcessFailed(f"{name} ended; see {home.logs / f'{name}.log'}: {_last_line(home, name)}")
            settled = name in HEALTH or (not servers_wait and _age(home, name) > SETTLE_SECONDS)
            if current.healthy and settled:
                waiting.remove(name)
                on_ready(name)
        if waiting and time.monotonic() > deadline:
            raise ProcessFailed(f"{', '.join(waiting)} did not answer in {START_SECONDS:.0f} s; see {home.logs}")
        time.sleep(0.1)


def status(home: Home, name: str) -> Status:
    process = find(home, name)
    address = _address(home, name)
    healthy = process is not None and (address is None or _answers(address + HEALTH[name][1]))
    started = name in home.state().get("processes", {})
    return Status(name, process.pid if process else None, address, healthy, started)


def stop(home: Home, wanted: Iterable[str]) -> list[str]:
    """The names of those that ran; they and all their children are gone. SIGTERM first, SIGKILL after STOP_SECONDS."""
    wanted = set(wanted)
    if not wanted:
        return []
    family = {pid: (name, process) for pid, (name, process) in marked(home.path).items() if name in wanted}
    leaders = [process for name in wanted if (process := find(home, name)) is not None]
    for process in leaders:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    # Children end with their leader; those that would not, and orphans of a leader that was killed, end after it.
    psutil.wait_procs(leaders, timeout=STOP_SECONDS)
    psutil.wait_procs([process for _, process in family.values()], timeout=CHILDREN_SECONDS)
    kill(process for name, process in marked(home.path).values() if name in wanted)
    running = home.state().get("processes", {})
    home.remember(processes={name: entry for name, entry in running.items() if name not in wanted})
    return [name for name in names() if name in {name for name, _ in family.values()}]


def find(home: Home, name: str) -> psutil.Process | None:
    """The living process we started under this name; never another that got its number since."""
    entry = home.state().get("processes", {}).get(name)
    if entry is None:
        return None
    pid, created = entry[:2]
    try:
        process = psutil.Process(int(pid))
        if abs(process.create_time() - created) > 1 or process.status() == psutil.STATUS_ZOMBIE:
            return None
    except psutil.NoSuchProcess:
        return None
    return process


def _commands() -> dict[str, str]:
    lines = (line.partition(":") for line in Path(PROCFILE).read_text().splitlines() if line.strip())
    return {name.strip(): command.strip() for name, _, command in lines}


def _substitute(word: str, environment: dict[str, str]) -> str:
    return re.sub(r"\$\{(\w+)\}", lambda match: environment[match[1]], word)


def _address(home: Home, name: str) -> str | None:
    port = home.state().get("ports", {}).get(name)
    return f"http://127.0.0.1:{port}" if name in HEALTH and port else None


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 - the address is our own
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _age(home: Home, name: str) -> float:
    """Seconds since the process started."""
    return time.time() - float(home.state()["processes"][name][1])


def _ports(home: Home, wanted: Collection[str]) -> dict[str, int]:
    """A port for each server that runs or is wanted: the one it has or had, unless somebody else holds that now."""
    ports: dict[str, int] = dict(home.state().get("ports", {}))
    for name, (default, _) in HEALTH.items():
        if name not in wanted or find(home, name) is not None:
            continue
        if name not in ports or not is_free(ports[name]):
            others = [port for other, port in ports.items() if other != name]
            ports[name] = free_port(default, others)
    return ports


def _process_settings(home: Home) -> dict[str, str]:
    """What the Procfile's lines refer to, beside the settings."""
    ports = {f"{name.upper()}_PORT": str(port) for name, port in home.state().get("ports", {}).items()}
    return ports | {
        "API_PROCESSES": _api_processes(),
        "MLFLOW_ARTIFACTS": str(home.path / "mlflow" / "artifacts"),
        # Eight idle processes of the tracking server that run jobs nobody here gives it.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "PYTHONUNBUFFERED": "1",
    }


def _api_processes() -> str:
    """Raises SettingUnusable."""
    given = os.environ.get("API_PROCESSES") or "1"
    if not re.fullmatch("[1-9][0-9]?", given):
        raise SettingUnusable(f"API_PROCESSES must be a number from 1 to 99, not {given!r}")
    return given


def _log(home: Home, name: str) -> IO[bytes]:
    """The process's log, open at its end; one that has grown large is put aside first, in place of the last so."""
    file = home.logs / f"{name}.log"
    if file.exists() and file.stat().st_size > LOG_BYTES:
        file.replace(file.with_suffix(".log.1"))
    return file.open("ab")


def _last_line(home: Home, name: str) -> str:
    with (home.logs / f"{name}.log").open("rb") as log:
        log.seek(0, os.SEEK_END)
        log.seek(max(0, log.tell() - 4096))
        lines = [line for line in log.read().decode(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "(nothing)"
