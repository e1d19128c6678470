"""What costs too much is told, in this process and in another."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from tests.fuzz.limits import PATIENCE, TooCostly, within_limits

ALLOCATES = "import sys\nfor line in sys.stdin:\n    bytearray(int(line)); print(flush=True)\n"


def busy(seconds: float) -> None:
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass


def test_processor_time_is_limited_and_waiting_is_not():
    limit = 0.1 / PATIENCE
    with within_limits(cpu_seconds=limit):
        time.sleep(0.2)
    with pytest.raises(TooCostly, match="for 5 bytes: b'input'"), within_limits(b"input", cpu_seconds=limit):
        busy(0.2)


def test_memory_is_limited_though_it_is_given_back():
    for _ in range(2):
        with pytest.raises(TooCostly), within_limits(grown_bytes=10_000_000):
            bytearray(20_000_000)
    with within_limits(grown_bytes=10_000_000):
        bytearray(5_000_000)


def test_another_process_is_measured():
    with subprocess.Popen([sys.executable, "-c", ALLOCATES], stdin=-1, stdout=-1, text=True) as process:

        def allocate(size: int) -> None:
            print(size, file=process.stdin, flush=True)
            process.stdout.readline()

        allocate(1)
        with pytest.raises(TooCostly), within_limits(pid=process.pid, grown_bytes=10_000_000):
            allocate(20_000_000)
        with within_limits(pid=process.pid, grown_bytes=10_000_000):
            allocate(5_000_000)
        process.stdin.close()
