"""One writer of the warehouse at a time, whoever starts it: a command, the web server, a schedule."""

from __future__ import annotations

import contextlib
import fcntl
import threading
import time
from collections.abc import Callable, Iterator

from orchestration.runtime.home import Home

POLL_SECONDS = 0.2
# A run that Dagster started waits this long for another to end before it gives up; an incremental build takes minutes.
PATIENCE_SECONDS = 3 * 3600.0

_held: set[str] = set()
_changing = threading.Lock()


class RunInProgress(Exception):
    """Another run writes the warehouse now."""

    code = 3


@contextlib.contextmanager
def only_writer(home: Home, wait_seconds: float = 0.0, on_wait: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Holds the warehouse for writing; within it, again changes nothing. The hold ends with the process at the latest.

    `on_wait` is called once when another holds it. Raises RunInProgress when that takes longer than `wait_seconds`.
    """
    file = home.warehouse.parent / "writer.lock"
    name = str(file)
    with _changing:
        ours = name in _held
    if ours:
        yield
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as handle:
        deadline = time.monotonic() + wait_seconds
        told = False
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() >= deadline:
                    raise RunInProgress(
                        "another run is writing the warehouse; wait for it or look at it in Dagster"
                    ) from error
                if not told:
                    on_wait()
                    told = True
                time.sleep(min(POLL_SECONDS, max(deadline - time.monotonic(), 0)))
        with _changing:
            _held.add(name)
        try:
            yield
        finally:
            with _changing:
                _held.discard(name)
