"""Keeps the product's processes running: the parent of all, started by `rapport up`, stopped by `rapport down`.

`state.json` says what is wanted; SIGHUP says that it changed. What ends is started again, at once the first time, then
after ever longer, and without end. An embedded database that was killed is started again too.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import logging
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import IO

import psutil

from orchestration.runtime import procfile, servers
from orchestration.runtime.environment import SettingUnusable
from orchestration.runtime.home import PROJECT_ROOT, Home, HomeLocked, HomeUnusable
from orchestration.runtime.postgres import EmbeddedPostgres, PostgresUnavailable
from orchestration.runtime.privacy import UMASK
from orchestration.runtime.process_table import MARK, end, kill, marked
from orchestration.runtime.record import Entry, Record
from orchestration.runtime.redis import EmbeddedRedis, RedisUnavailable

FIRST_DELAY_SECONDS = 0.5
LONGEST_DELAY_SECONDS = 60.0
# A process that has run this long ran well: its next end counts as its first.
WELL_SECONDS = 60.0
# From this many ends in a row on, somebody is told.
LOUD_FAILURES = 5
LOOK_SECONDS = 0.2
LOG_BYTES = 20_000_000
PR_SET_PDEATHSIG = 1

log = logging.getLogger("rapport.supervisor")


def delay_after(failures: int) -> float:
    """Seconds until the next try, after so many ends in a row."""
    return float(min(FIRST_DELAY_SECONDS * 2 ** min(failures - 1, 30), LONGEST_DELAY_SECONDS))


class Supervisor:
    def __init__(self, home: Home) -> None:
        self._home = home
        self._record = Record()
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._settings: dict[str, str] = {}
        self._complaint = ""
        # What is wanted changed: somebody asked for a start. The settings did: a database listens elsewhere, perhaps.
        self._asked = self._changed = True
        self._ending = False

    def run(self) -> None:
        """Returns when it was told to end, and all it started has ended."""
        signal.signal(signal.SIGHUP, self._hear)
        for told_to_end in (signal.SIGTERM, signal.SIGINT):
            signal.signal(told_to_end, lambda *_: setattr(self, "_ending", True))
        log.info("supervisor.started pid=%s", os.getpid())
        while not self._ending:
            self._see_to_stores()
            if self._changed:
                self._act_on_wishes()
            self._see_who_ended()
            self._start_who_is_due()
            time.sleep(LOOK_SECONDS)
        self._end(set(self._running))
        log.info("supervisor.ended")

    def _hear(self, *_: object) -> None:
        self._asked = self._changed = True

    def _act_on_wishes(self) -> None:
        """Ends what is not wanted or was started with other settings; when asked, what waits is tried at once."""
        self._changed = False
        state = self._home.state()
        try:
            self._settings = procfile.settings(self._home)
        except (PostgresUnavailable, RedisUnavailable, SettingUnusable, HomeUnusable) as error:
            if str(error) != self._complaint:
                log.error("supervisor.settings_unusable error=%s", error)
            self._changed, self._complaint = True, str(error)
            return
        self._complaint = ""
        asked, self._asked = self._asked, False
        digest = procfile.digest(self._settings)
        entries = self._record.entries
        wanted = [name for name in procfile.names() if name in state.get("wanted", [])]
        self._end({name for name in self._running if name not in wanted or entries[name].digest != digest})
        for name in list(entries):
            if name not in (*wanted, *STORES):
                del entries[name]
        for name in wanted:
            if name not in self._running and (asked or name not in entries):
                entries[name] = Entry(next_try_at=time.time())
        self._start_who_is_due()
        self._record.generation, self._record.digest = state.get("generation", 0), digest
        self._record.write(self._home)

    def _see_who_ended(self) -> None:
        for name, process in list(self._running.items()):
            code = process.poll()
            if code is not None:
                del self._running[name]
                entry = self._record.entries[name]
                entry.pid, entry.exit_code = None, code
                self._wait_longer(name, entry, ran_seconds=time.time() - entry.created)

    def _wait_longer(self, name: str, entry: Entry, *, ran_seconds: float) -> None:
        entry.failures = 1 if ran_seconds >= WELL_SECONDS else entry.failures + 1
        delay = delay_after(entry.failures)
        entry.next_try_at = time.time() + delay
        self._record.write(self._home)
        log.error(
            "process.ended name=%s exit_code=%s ends_in_a_row=%s next_try_seconds=%s",
            name, entry.exit_code, entry.failures, delay,
        )  # fmt: skip
        if entry.failures == LOUD_FAILURES:
            log.critical("process.keeps_ending name=%s see=%s", name, self._home.logs / f"{name}.log")
            _tell(name, entry)

    def _start_who_is_due(self) -> None:
        for name, entry in self._record.entries.items():
            if name in STORES or name in self._running or entry.next_try_at is None or time.time() < entry.next_try_at:
                continue
            # Orphans of a process that was killed hold its port and its queue.
            kill(process for found, process in marked(self._home.path).values() if found == name)
            try:
                process = self._start(name)
            except OSError as error:
                log.error("process.not_started name=%s error=%s", name, error)
                entry.exit_code = 127
                self._wait_longer(name, entry, ran_seconds=0)
                continue
            self._running[name] = process
            if entry.exit_code is not None:
                entry.restarts += 1
            entry.pid, entry.created = process.pid, psutil.Process(process.pid).create_time()
            entry.digest, entry.next_try_at = procfile.digest(self._settings), None
            self._record.write(self._home)
            log.info("process.started name=%s pid=%s restarts=%s", name, process.pid, entry.restarts)

    def _start(self, name: str) -> subprocess.Popen[bytes]:
        environment = os.environ | self._settings
        if name in servers.ON_SOCKETS:
            servers.claim_socket(self._home, name)
        with _open_log(self._home, name) as out:
            return subprocess.Popen(
                procfile.words(procfile.commands()[name], environment),
                cwd=PROJECT_ROOT,
                env=environment | {MARK: name},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                umask=UMASK,
                preexec_fn=_end_with(os.getpid()),  # this process has one thread
            )

    def _see_to_stores(self) -> None:
        state = self._home.state()
        for name, (store_of, variable) in STORES.items():
            store = store_of(self._home)
            if os.environ.get(variable) or not state.get(f"{name}_started") or store.alive():
                continue
            entry = self._record.entries.setdefault(name, Entry())
            if entry.next_try_at is not None and time.time() < entry.next_try_at:
                continue
            try:
                # Whoever holds it is starting or stopping things.
                with self._home.lock():
                    if not self._home.state().get(f"{name}_started"):
                        continue
                    store.start()
            except HomeLocked:
                continue
            except (PostgresUnavailable, RedisUnavailable, HomeUnusable, OSError) as error:
                log.error("store.not_started name=%s error=%s", name, error)
                self._wait_longer(name, entry, ran_seconds=0)
                continue
            ran = time.time() - entry.created
            entry.failures = 1 if ran >= WELL_SECONDS else entry.failures + 1
            entry.restarts, entry.created = entry.restarts + 1, time.time()
            entry.next_try_at = time.time() + delay_after(entry.failures)
            log.error("store.started_again name=%s restarts=%s", name, entry.restarts)
            # It may listen on another port now.
            self._record.write(self._home)
            self._changed = True

    def _end(self, names: set[str]) -> None:
        if not names:
            return
        end(self._home.path, names, [psutil.Process(self._running[name].pid) for name in names])
        for name in names:
            self._running.pop(name).poll()
        self._record.entries = {name: entry for name, entry in self._record.entries.items() if name not in names}
        self._record.write(self._home)


STORES: dict[str, tuple[Callable[[Home], EmbeddedPostgres | EmbeddedRedis], str]] = {
    "postgres": (EmbeddedPostgres, "DATABASE_URL"),
    "redis": (EmbeddedRedis, "REDIS_URL"),
}


def _end_with(parent: int) -> Callable[[], None]:
    """What a child does before it becomes its program: it asks to be told to end when its parent is killed."""
    if sys.platform != "linux":
        return lambda: None
    libc = ctypes.CDLL(None)

    def ask() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it was killed before we asked
            os._exit(1)

    return ask


def _open_log(home: Home, name: str) -> IO[bytes]:
    """The process's log, open at its end; one that has grown large is put aside first, in place of the last so."""
    file = home.logs / f"{name}.log"
    if file.exists() and file.stat().st_size > LOG_BYTES:
        file.replace(file.with_suffix(".log.1"))
    return file.open("ab")


def _tell(name: str, entry: Entry) -> None:
    url = os.environ.get("RAPPORT_ALERT_URL")
    if not url:
        return
    alert = {"event": "process.keeps_ending", "name": name, "exit_code": entry.exit_code, "ends": entry.failures}
    request = urllib.request.Request(  # noqa: S310 - the operator's own setting
        url, json.dumps(alert).encode(), {"Content-Type": "application/json"}
    )
    try:
        urllib.request.urlopen(request, timeout=5).close()  # noqa: S310
    except (OSError, ValueError) as error:
        log.error("alert.undelivered error=%s", error)


def main(home: Home, commands: Path) -> None:
    procfile.PROCFILE = commands
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    os.umask(UMASK)
    with (home.path / "supervisor.lock").open("w") as alone:
        try:
            fcntl.flock(alone, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.error("supervisor.runs_already")
            return
        Supervisor(home).run()


if __name__ == "__main__":
    main(Home(Path(sys.argv[1])), Path(sys.argv[2]))
