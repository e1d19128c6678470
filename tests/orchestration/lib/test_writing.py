"""Whoever writes the warehouse does so alone, in this process and beside others."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from orchestration.lib.writing import RunInProgress, only_writer
from orchestration.runtime.home import PROJECT_ROOT, Home

HOLD = """
import sys, time
from pathlib import Path
from orchestration.lib.writing import only_writer
from orchestration.runtime.home import Home
with only_writer(Home(Path(sys.argv[1]))):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def another(home: Home, seconds: float) -> subprocess.Popen[str]:
    """A process that holds the warehouse for so long, and has begun to."""
    command = [sys.executable, "-c", HOLD, str(home.path), str(seconds)]
    process = subprocess.Popen(command, cwd=PROJECT_ROOT, stdout=subprocess.PIPE, text=True, env=os.environ)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


@pytest.fixture
def own(tmp_path: Path) -> Home:
    return Home(tmp_path)


class TestOnlyWriter:
    def test_a_second_process_is_refused_at_once(self, own: Home) -> None:
        with another(own, 60) as process:
            with pytest.raises(RunInProgress), only_writer(own):
                raise AssertionError("two write")
            process.kill()

    def test_who_waits_gets_its_turn_and_says_that_it_waits(self, own: Home) -> None:
        told: list[float] = []
        with another(own, 1.0) as process, only_writer(own, 30, lambda: told.append(time.monotonic())):
            assert process.wait(timeout=5) == 0
        assert len(told) == 1

    def test_a_killed_writer_holds_nothing(self, own: Home) -> None:
        process = another(own, 60)
        process.kill()
        process.wait()
        with only_writer(own):
            pass

    def test_within_it_again_changes_nothing(self, own: Home) -> None:
        with only_writer(own):
            with only_writer(own):
                pass
            held_still = subprocess.run(
                [sys.executable, "-c", HOLD, str(own.path), "0"], cwd=PROJECT_ROOT, capture_output=True, text=True
            )
            assert "RunInProgress" in held_still.stderr
        with only_writer(own):
            pass
