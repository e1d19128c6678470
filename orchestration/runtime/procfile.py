"""What each of the product's processes is started with: its command line, from deploy/Procfile, and its settings."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import sys
from pathlib import Path

from orchestration.runtime import servers
from orchestration.runtime.environment import SettingUnusable, process_environment
from orchestration.runtime.home import PROJECT_ROOT, Home
from orchestration.runtime.process_table import MARK

PROCFILE = PROJECT_ROOT / "deploy" / "Procfile"
OURS = re.compile("(SERVING|GATEWAY|TRAINING|FEATURE_STORE|PUBLICATION|RAPPORT|PAGES|DUCKDB)_|API_|DATABASE_URL$")


def commands() -> dict[str, str]:
    """The command lines by process, in the order they are started."""
    lines = (line.partition(":") for line in Path(PROCFILE).read_text().splitlines() if line.strip())
    return {name.strip(): command.strip() for name, _, command in lines}


def names() -> list[str]:
    return list(commands())


def words(command: str, environment: dict[str, str]) -> list[str]:
    """The command line as a list, with what it refers to filled in."""
    found = [re.sub(r"\$\{(\w+)\}", lambda match: environment[str(match[1])], word) for word in shlex.split(command)]
    return [sys.executable if found[0] == "python" else found[0], *found[1:]]


def settings(home: Home) -> dict[str, str]:
    """Every setting a process is started with, by variable name: what the caller set, and what follows from the home.

    Raises SettingUnusable; PostgresUnavailable and RedisUnavailable when an embedded server does not run.
    """
    given: dict[str, str] = {name: value for name, value in os.environ.items() if OURS.match(name) and name != MARK}
    extra: dict[str, str] = home.state().get("extra_environment", {})
    made = process_environment(home) | extra
    ports = {f"{name.upper()}_PORT": str(port) for name, port in servers.ports(home).items()}
    sockets = {f"{name.upper()}_SOCKET": str(servers.socket_of(home, name)) for name in servers.ON_SOCKETS}
    return (
        given
        | made
        | ports
        | sockets
        | {
            "API_LISTEN": os.environ.get("API_LISTEN") or "127.0.0.1",
            "PAGES_LISTEN": os.environ.get("PAGES_LISTEN") or "127.0.0.1",
            "API_PROCESSES": _api_processes(),
            # Not in the command line, which every user of the machine may read: the address may hold a password.
            "MLFLOW_BACKEND_STORE_URI": made["TRAINING_TRACKING_URI"],
            "MLFLOW_DEFAULT_ARTIFACT_ROOT": str(home.path / "mlflow" / "artifacts"),
            # It is reached through the pages alone, which check whom they were called by.
            "MLFLOW_SERVER_ALLOWED_HOSTS": "*",
            # Eight idle processes of the tracking server that run jobs nobody here gives it.
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "PYTHONUNBUFFERED": "1",
        }
    )


def digest(told: dict[str, str]) -> str:
    """Differs when a setting does."""
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def _api_processes() -> str:
    """Raises SettingUnusable."""
    given = os.environ.get("API_PROCESSES") or "1"
    if not re.fullmatch("[1-9][0-9]?", given):
        raise SettingUnusable(f"API_PROCESSES must be a number from 1 to 99, not {given!r}")
    return given
