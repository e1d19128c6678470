"""A run that is killed, or loses its database or its disk, costs nothing: the next one gives the same rows.

Three seeded points by default, twenty with CHAOS=full.
"""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.orchestration.installation import RAPPORT, WAREHOUSE, Installation, installed

SEED = 20_261_123
POINTS = 20 if os.environ.get("CHAOS") == "full" else 2
STEPS = ("dbt", "contracts", "ingest")
# Seconds into a step; dbt takes the longest.
DEEPEST = {"ingest": 2.0, "contracts": 6.0, "dbt": 14.0}
SMALL_FILE_BYTES = 3_000_000

pytestmark = [pytest.mark.slow, pytest.mark.chaos, pytest.mark.timeout(300 + 240 * POINTS)]
Rows = dict[str, tuple[int, int]]


def points() -> list[tuple[str, float]]:
    """Where to kill: a step, and how far into it; every kind of step, then at random."""
    chance = random.Random(SEED)
    chosen = [STEPS[number % len(STEPS)] for number in range(POINTS)]
    return [(step, round(chance.uniform(0, DEEPEST[step]), 2)) for step in chosen]


@pytest.fixture(scope="module")
def installation() -> Iterator[Installation]:
    with installed() as made:
        made.make_history()
        yield made


@pytest.fixture(scope="module")
def undisturbed(installation: Installation) -> tuple[Rows, Rows]:
    """Raw rows and built rows of a run that nothing disturbed."""
    installation.done("run", "--select", WAREHOUSE)
    return installation.raw(), installation.built()


def forget(installation: Installation) -> None:
    """The warehouse is as on the first day."""
    for file in installation.home.warehouse.parent.glob("*.duckdb*"):
        file.unlink()


def rows(installation: Installation) -> tuple[Rows, Rows]:
    """Raw rows and built rows after one more run."""
    installation.done("run", "--select", WAREHOUSE)
    return installation.raw(), installation.built()


def differing(found: tuple[Rows, Rows], expected: tuple[Rows, Rows]) -> dict[str, tuple[object, object]]:
    """The tables whose rows are not the same, with both."""
    ours, theirs = found[0] | found[1], expected[0] | expected[1]
    return {name: (ours.get(name), theirs.get(name)) for name in ours | theirs if ours.get(name) != theirs.get(name)}


def reached(running: subprocess.Popen[str], step: str) -> bool:
    """Whether the run said that it has come to the step."""
    assert running.stderr is not None
    return any(line.strip() == step for line in running.stderr)


@pytest.mark.parametrize(("step", "seconds"), points())
def test_killed_at_a_point_of_its_way(
    installation: Installation, undisturbed: tuple[Rows, Rows], step: str, seconds: float
) -> None:
    forget(installation)
    running = installation.start("run", "--select", WAREHOUSE)
    assert reached(running, step)
    time.sleep(seconds)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()

    assert differing(rows(installation), undisturbed) == {}


def test_the_database_killed_while_it_is_read(installation: Installation, undisturbed: tuple[Rows, Rows]) -> None:
    forget(installation)
    running = installation.start("run", "--select", WAREHOUSE)
    assert reached(running, "ingest")
    postmaster = psutil.Process(int((installation.home.postgres / "data" / "postmaster.pid").read_text().split()[0]))
    family = [postmaster, *postmaster.children(recursive=True)]
    for process in family:
        process.kill()
    psutil.wait_procs(family, timeout=10)
    running.communicate(timeout=200)

    assert differing(rows(installation), undisturbed) == {}


def test_a_full_disk_leaves_the_last_good_warehouse(installation: Installation, undisturbed: tuple[Rows, Rows]) -> None:
    """A limit on the size of files stops writes as a full disk does, root or not."""
    kept = installation.home.path / "kept"
    shutil.copytree(installation.home.warehouse.parent, kept)
    raw = installation.home.warehouse.with_name("raw.duckdb")
    limit = max(SMALL_FILE_BYTES, raw.stat().st_size + 100_000)
    assert limit < installation.home.warehouse.stat().st_size
    failed = subprocess.run(
        [str(RAPPORT), "run", "--select", WAREHOUSE],
        env=installation.environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert failed.returncode == 1
    assert "Traceback" not in failed.stderr
    assert differing((installation.raw(), installation.built()), undisturbed) == {}
    assert not list(Path(installation.home.warehouse.parent).glob("*.building.duckdb"))

    assert differing(rows(installation), undisturbed) == {}
