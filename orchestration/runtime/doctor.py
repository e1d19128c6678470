"""What this machine lacks, and how to get it."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from orchestration.runtime import postgres, redis
from orchestration.runtime.home import Home, HomeUnusable

NEEDED_FREE_BYTES = 2 * 1024**3


@dataclass(frozen=True)
class Finding:
    name: str
    ok: bool
    detail: str
    remedy: str = ""


def findings() -> Iterator[Finding]:
    """One finding a requirement, met or not."""
    version = platform.python_version()
    yield Finding(
        "Python 3.11 or newer", sys.version_info >= (3, 11), version, "install a newer Python, then `make setup`"
    )
    yield _given_or_found("PostgreSQL", "DATABASE_URL", postgres.packaged_binaries)
    yield _given_or_found("Redis", "REDIS_URL", redis.server_binary)
    try:
        home = Home.from_environment()
        home.secrets()
        home.state()
    except HomeUnusable as error:
        yield Finding("RAPPORT_HOME is usable", False, str(error), "see the reason above")
        return
    yield Finding("RAPPORT_HOME is usable", True, str(home.path))
    free = shutil.disk_usage(home.path).free
    yield Finding(
        "disk space",
        free > NEEDED_FREE_BYTES,
        f"{free / 1024**3:.1f} GiB free in {home.path}",
        "free at least 2 GiB, or point RAPPORT_HOME at another disk",
    )


def _given_or_found(name: str, variable: str, find: Callable[[], object]) -> Finding:
    if os.environ.get(variable):
        return Finding(name, True, f"the one {variable} names")
    try:
        return Finding(name, True, str(find()))
    except (postgres.PostgresUnavailable, redis.RedisUnavailable) as error:
        return Finding(name, False, str(error), f"set {variable}, or install it from your system's packages")
