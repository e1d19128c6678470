"""One process at a time says which version of a tenant's model speaks."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def publishing(bundles_dir: Path, tenant_id: str, model: str) -> Iterator[None]:
    """Waits for whoever publishes the same tenant's model; a process that dies lets go. Not to be entered twice by one
    process."""
    folder = bundles_dir / tenant_id / model
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".publishing.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
