"""The API as `rapport up` runs it: a process of its own on a socket."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx

from serving.settings import Settings


class ApiProcess(NamedTuple):
    """`url` has no path; `log` is all it wrote."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path

    @property
    def pid(self) -> int:
        return self.process.pid


@contextlib.contextmanager
def running_api(settings: Settings, log: Path, **environment: str) -> Iterator[ApiProcess]:
    """Running until the block ends. Raises: RuntimeError with its log when it does not start."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    told = {
        f"SERVING_{name.upper()}": value.get_secret_value() if hasattr(value, "get_secret_value") else str(value)
        for name, value in settings.model_dump().items()
    }
    command = [sys.executable, "-m", "serving", "--port", str(port)]
    with log.open("w") as out:
        process = subprocess.Popen(command, env=os.environ | told | environment, stdout=out, stderr=subprocess.STDOUT)
    url = f"http://127.0.0.1:{port}"
    try:
        until = time.monotonic() + 60
        while not _answers(url):
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"the API did not start: {log.read_text()}")
            time.sleep(0.1)
        yield ApiProcess(process, url, log)
    finally:
        process.kill()
        process.wait()


def _answers(url: str) -> bool:
    with contextlib.suppress(httpx.TransportError):
        httpx.get(url)
        return True
    return False
