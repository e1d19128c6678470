"""A real Dagster webserver, over whatever code location a test names."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

INSTANCE = """
telemetry: {enabled: false}
run_coordinator: {module: dagster._core.run_coordinator, class: DefaultRunCoordinator}
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _webserver(home: Path, location: list[str], environment: dict[str, str], folder: Path) -> Iterator[str]:
    (home / "dagster.yaml").write_text(INSTANCE)
    port = free_port()
    command = [sys.executable, "-m", "dagster_webserver", *location, "-h", "127.0.0.1", "-p", str(port)]
    told = os.environ | environment | {"DAGSTER_HOME": str(home)}
    with (home / "log").open("wb") as log:
        server = subprocess.Popen(command, env=told, cwd=folder, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        until = time.monotonic() + 120
        while True:
            going_on = server.poll() is None and time.monotonic() < until
            assert going_on, (home / "log").read_text()[-3000:]
            try:
                if httpx.get(f"{url}/server_info", trust_env=False).status_code == 200:
                    break
            except httpx.HTTPError:
                time.sleep(0.2)
        yield url
    finally:
        family = psutil.Process(server.pid).children(recursive=True)
        server.terminate()
        server.wait(30)
        for process in psutil.wait_procs(family, 5)[1]:
            process.kill()


@pytest.fixture(scope="session")
def webserver():
    """A context that runs the webserver in the folder `home`, over `location` (its arguments), and gives its URL."""
    return _webserver
