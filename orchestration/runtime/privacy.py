"""RAPPORT_HOME is its owner's alone: other users of the machine neither read it nor pass through it."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

from orchestration.runtime.home import Home

OTHERS = stat.S_IRWXG | stat.S_IRWXO
# What the product makes in RAPPORT_HOME, some with an ending of its own. Whatever else lies there is somebody's own
# and stays as it is.
OURS = frozenset(
    {
        "bundles",
        "celerybeat-schedule",
        "dagster",
        "data_docs",
        "dbt",
        "demo-report.json",
        "demo.json",
        "great_expectations",
        "lock",
        "logs",
        "mlflow",
        "operator.json",
        "postgres",
        "redis",
        "rejects",
        "run",
        "secrets.json",
        "simulator",
        "snapshots",
        "state.json",
        "state.lock",
        "supervisor.json",
        "supervisor.lock",
        "training",
        "warehouse",
    }
)
# Files of this process and of all that it starts are made for their owner alone.
UMASK = 0o077


def close(home: Home) -> None:
    """Takes every right of other users from what the product made in RAPPORT_HOME, and from the folder if it is ours.

    A folder that holds other things too keeps its own rights. As root, where the embedded PostgreSQL runs as another
    user, that user's group may pass through the folder (0710), into its own database alone.
    """
    entries = list(home.path.iterdir())
    for entry in entries:
        if _is_ours(entry):
            _close_tree(entry)
    if all(_is_ours(entry) or entry.name.startswith(".") for entry in entries):
        # `postgres` lets its own user in when it starts.
        passing = stat.S_IXGRP if os.geteuid() == 0 and _is_others(home.postgres) else 0
        _take(home.path, OTHERS & ~passing)


def _close_tree(entry: Path) -> None:
    _take(entry, OTHERS)
    # Not below a link, and not into a folder of another user: the database's, which initdb closed.
    if entry.is_symlink() or not entry.is_dir() or _is_others(entry):
        return
    for child in entry.iterdir():
        _close_tree(child)


def _is_ours(entry: Path) -> bool:
    return entry.name in OURS or entry.stem in OURS


def _is_others(path: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_uid != os.geteuid()
    return False


def _take(path: Path, rights: int) -> None:
    # A running product removes files meanwhile, and what belongs to another user is not ours to change.
    with contextlib.suppress(FileNotFoundError, PermissionError):
        found = path.lstat()
        if not stat.S_ISLNK(found.st_mode) and found.st_mode & rights:
            path.chmod(stat.S_IMODE(found.st_mode) & ~rights)
