"""What one input may cost the process that reads it, measured while it reads.

    with within_limits(body):                    # in this process
        read_batch(body)
    with within_limits(body, pid=api.pid):       # in another one
        client.post(path, content=body)

The limit of time is judged by `make fuzz` (FUZZ=full). In `make test`, on whatever machine beside whatever else, an
input may take ten times as long: what is quadratic or explodes takes more than that.

Linux only: processor time is the process's own clock, memory its high-water mark, which is set back before each input.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CPU_SECONDS = 1.0
FULL = os.environ.get("FUZZ") == "full"
PATIENCE = 1 if FULL else 10
GROWN_BYTES = 64_000_000
# So that memory freed is given back, and each input's growth is its own: for processes started to be measured.
GIVES_MEMORY_BACK = {
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": "65536",
    "MALLOC_TRIM_THRESHOLD_": "65536",
}


class TooCostly(AssertionError):
    """The input that was read cost more than one may."""


@dataclass
class Cost:
    """Set when the reading ends: processor seconds, and by how many bytes the resident memory grew at its peak."""

    cpu_seconds: float = 0.0
    grown_bytes: int = 0


@contextlib.contextmanager
def within_limits(
    told: bytes | str = b"",
    *,
    pid: int | None = None,
    cpu_seconds: float = CPU_SECONDS,
    grown_bytes: int = GROWN_BYTES,
) -> Iterator[Cost]:
    """Measures what the block costs process `pid` (this one unless given). `told`, the input, is shown in part.
    Raises: TooCostly."""
    cpu_seconds *= PATIENCE
    cost = Cost()
    if pid is None:
        _give_memory_back()
    process = pid or os.getpid()
    _set_peak_back(process)
    memory, started = _bytes_of(process, "VmRSS"), _processor_seconds(process)
    yield cost
    cost.cpu_seconds = _processor_seconds(process) - started
    cost.grown_bytes = max(0, _bytes_of(process, "VmHWM") - memory)
    if cost.cpu_seconds > cpu_seconds or cost.grown_bytes > grown_bytes:
        raise TooCostly(
            f"{cost.cpu_seconds:.3f} s of processor time (at most {cpu_seconds}) and {cost.grown_bytes / 1e6:.1f} MB "
            f"(at most {grown_bytes / 1e6:.0f}) for {len(told)} bytes: {told[:200]!r}"
        )


def _processor_seconds(pid: int) -> float:
    """Of all its threads. The clock of another process has the number that clock_getcpuclockid(3) makes."""
    return time.clock_gettime((~pid << 3) | 2)


def _bytes_of(pid: int, name: str) -> int:
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024


def _set_peak_back(pid: int) -> None:
    """Sets VmHWM back to VmRSS: see clear_refs in proc(5)."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def _give_memory_back() -> None:
    import pyarrow as pa

    pa.default_memory_pool().release_unused()
    ctypes.CDLL(None).malloc_trim(0)
