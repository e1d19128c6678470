"""The product's own processes: started from the Procfile, watched by their health, stopped whole."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

from orchestration.runtime.environment import process_environment
from orchestration.runtime.home import PROJECT_ROOT, Home
from orchestration.runtime.ports import free_port, is_free

PROCFILE = PROJECT_ROOT / "deploy" / "Procfile"
# Where each server is asked whether it is well, and the port it gets unless somebody else holds it.
HEALTH = {
    "simulator": (8010, "/simulator/health"),
    "api": (8000, "/api/v1/health/health"),
    "mlflow": (5050, "/health"),
    "dagster": (3070, "/server_info"),
}
STOP_SECONDS = 15.0
START_SECONDS = 90.0


class ProcessFailed(Exception):
    """A process ended, or did not become healthy in time; the text names its log."""


@dataclass(frozen=True)
class Status:
    name: str
    pid: int | None
    address: str | None
    healthy: bool


def names() -> list[str]:
    return list(_commands())


def start(home: Home, wanted: Iterable[str], extra_environment: dict[str, str] | None = None) -> None:
    """Starts those that do not run; returns at once. `wait_healthy` says when they can be used."""
    commands = _commands()
    ports: dict[str, int] = dict(home.state().get("ports", {}))
    running: dict[str, list[float]] = dict(home.state().get("processes", {}))
    wanted = [name for name in wanted if find(home, name) is None]
    for name in wanted:
        if name in HEALTH and not (name in ports and is_free(ports[name])):
            ports[name] = free_port(HEALTH[name][0])
    home.remember(ports=ports)
    environment = os.environ | process_environment(home) | (extra_environment or {})
    environment |= {f"{name.upper()}_PORT": str(port) for name, port in ports.items()}
    environment |= {"MLFLOW_ARTIFACTS": str(home.path / "mlflow" / "artifacts"), "PYTHONUNBUFFERED": "1"}
    (home.path / "mlflow").mkdir(exist_ok=True)
    home.logs.mkdir(parents=True, exist_ok=True)
    for name in wanted:
        words = [_substitute(word, environment) for word in shlex.split(commands[name])]
        words[0] = sys.executable if words[0] == "python" else words[0]
        with (home.logs / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                words, cwd=PROJECT_ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        running[name] = [process.pid, psutil.Process(process.pid).create_time()]
        home.remember(processes=running)


def wait_healthy(home: Home, wanted: Iterable[str], on_ready: Callable[[str], None] = lambda name: None) -> None:
    """Returns when all answer. Raises ProcessFailed for one that ended or took longer than START_SECONDS."""
    waiting = list(wanted)
    deadline = time.monotonic() + START_SECONDS
    while waiting:
        for name in list(waiting):
            current = status(home, name)
            if current.healthy:
                waiting.remove(name)
                on_ready(name)
            elif current.pid is None:
                raise ProcessFailed(f"{name} ended; see {home.logs / f'{name}.log'}")
        if waiting and time.monotonic() > deadline:
            raise ProcessFailed(f"{', '.join(waiting)} did not answer in {START_SECONDS:.0f} s; see {home.logs}")
        time.sleep(0.1)


def status(home: Home, name: str) -> Status:
    process = find(home, name)
    address = _address(home, name)
    healthy = process is not None and (address is None or _answers(address + HEALTH[name][1]))
    return Status(name, process.pid if process else None, address, healthy)


def stop(home: Home, wanted: Iterable[str]) -> list[str]:
    """The names of those that ran; they and all their children are gone. SIGTERM first, SIGKILL after STOP_SECONDS."""
    stopping = {name: process for name in wanted if (process := find(home, name)) is not None}
    families = {name: [process, *process.children(recursive=True)] for name, process in stopping.items()}
    for process in stopping.values():
        _signal_group(process, signal.SIGTERM)
    everyone = [process for family in families.values() for process in family]
    _, alive = psutil.wait_procs(everyone, timeout=STOP_SECONDS)
    for process in alive:
        _signal_group(process, signal.SIGKILL)
    psutil.wait_procs(alive, timeout=5)
    running = home.state().get("processes", {})
    home.remember(processes={name: entry for name, entry in running.items() if name not in stopping})
    return list(stopping)


def find(home: Home, name: str) -> psutil.Process | None:
    """The living process we started under this name; never another that got its number since."""
    entry = home.state().get("processes", {}).get(name)
    if entry is None:
        return None
    pid, created = entry
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


def _signal_group(process: psutil.Process, number: int) -> None:
    try:
        os.killpg(os.getpgid(process.pid), number)
    except ProcessLookupError:
        return
