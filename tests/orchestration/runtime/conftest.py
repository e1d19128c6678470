"""Folders that a server run by another user gets to, and a RAPPORT_HOME of the module's own, where killing its
servers disturbs no other test."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from orchestration.runtime.home import Home
from orchestration.runtime.postgres import EmbeddedPostgres
from orchestration.runtime.redis import EmbeddedRedis


@contextmanager
def opened() -> Iterator[Path]:
    """Not below pytest's folder: every run that starts closes that to others."""
    with tempfile.TemporaryDirectory(prefix="rapport runtime ", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    with opened() as path:
        yield path


@pytest.fixture(scope="module")
def own_home() -> Iterator[Home]:
    with opened() as path:
        home = Home(path)
        yield home
        EmbeddedRedis(home).stop()
        EmbeddedPostgres(home).stop()
