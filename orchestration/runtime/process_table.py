"""Which living processes are ours, told by what the system knows of them: a number alone may be somebody else's now."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterable
from pathlib import Path

import psutil

# Set in the environment of every process we start and inherited by its children, whatever group they move to.
MARK = "RAPPORT_PROCESS"
STOP_SECONDS = 15.0
CHILDREN_SECONDS = 3.0


def servers_in(folder: Path, names: tuple[str, ...]) -> list[psutil.Process]:
    """Processes of such a program that work in the folder, the servers of databases included, oldest first."""
    found = []
    for process in psutil.process_iter(["name"]):
        if any(name in (process.info["name"] or "") for name in names) and works_in(process, folder):
            found.append(process)
    return sorted(found, key=lambda process: process.create_time())


def works_in(process: psutil.Process, folder: Path) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE and Path(process.cwd()) == folder.resolve()
    except (psutil.Error, OSError):
        return False


def process_at(pid_file: Path) -> psutil.Process | None:
    """The living process whose number the file's first line holds, ours or not."""
    try:
        return psutil.Process(int(pid_file.read_text().split()[0]))
    except (OSError, ValueError, IndexError, psutil.Error):
        return None


def marked(home: Path) -> dict[int, tuple[str, psutil.Process]]:
    """Every living process started for this RAPPORT_HOME, with its children and orphans: name and process by pid."""
    ours = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    found = {}
    for process in psutil.process_iter():
        try:
            environment = process.environ()
            alive = process.status() != psutil.STATUS_ZOMBIE
        except (psutil.Error, OSError):
            continue
        name = environment.get(MARK)
        if alive and name and environment.get("RAPPORT_HOME") == str(home) and process.pid not in ours:
            found[process.pid] = (name, process)
    return found


def end(home: Path, names: Collection[str], leaders: Collection[psutil.Process] = ()) -> list[str]:
    """The names of those that ran; they and all their children are gone. SIGTERM first, SIGKILL after STOP_SECONDS.

    `leaders` are told to end first, and end their children; without them everyone is told.
    """
    family = [(name, process) for name, process in marked(home).values() if name in names]
    members = [process for _, process in family]
    for process in leaders or members:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    psutil.wait_procs(leaders or members, timeout=STOP_SECONDS)
    # Children end with their leader; those that would not, and orphans of a leader that was killed, end after it.
    psutil.wait_procs(members, timeout=CHILDREN_SECONDS)
    kill(process for name, process in marked(home).values() if name in names)
    return sorted({name for name, _ in family})


def kill(processes: Iterable[psutil.Process]) -> None:
    """Ends them at once and waits until they are gone."""
    doomed = list(processes)
    for process in doomed:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(doomed, timeout=10)
