"""A RAPPORT_HOME of the module's own, so that killing its servers disturbs no other test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from orchestration.runtime.home import Home
from orchestration.runtime.postgres import EmbeddedPostgres
from orchestration.runtime.redis import EmbeddedRedis


@pytest.fixture(scope="module")
def own_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    path = tmp_path_factory.mktemp("own home")
    for folder in (path, *path.parents[:2]):
        folder.chmod(0o755)
    home = Home(path)
    yield home
    EmbeddedRedis(home).stop()
    EmbeddedPostgres(home).stop()
