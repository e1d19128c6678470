from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from orchestration.runtime import processes
from orchestration.runtime.environment import SettingUnusable
from orchestration.runtime.home import Home
from orchestration.runtime.postgres import EmbeddedPostgres
from orchestration.runtime.process_table import marked
from orchestration.runtime.processes import ProcessFailed
from orchestration.runtime.redis import EmbeddedRedis

# A parent whose child has moved to a session of its own and ignores SIGTERM, as the children of some servers do.
STUBBORN = """
import signal, subprocess, sys, time
child = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
subprocess.Popen([sys.executable, "-c", child], start_new_session=True)
time.sleep(60)
"""


@pytest.fixture
def product(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """A RAPPORT_HOME whose databases are the test run's and whose processes are small ones."""
    (tmp_path / "stubborn.py").write_text(STUBBORN)
    (tmp_path / "Procfile").write_text(
        f"stubborn: python '{tmp_path}/stubborn.py'\nfails: python -c 'raise SystemExit(\"no luck today\")'\n"
        "mlflow: python -m http.server ${MLFLOW_PORT} --bind 127.0.0.1\n"
        "api: python -c 'raise SystemExit(\"${API_PROCESSES} processes\")'\n"
    )
    monkeypatch.setattr(processes, "PROCFILE", tmp_path / "Procfile")
    # Not the port of a demo that another worker may be starting.
    monkeypatch.setattr(processes, "HEALTH", {"mlflow": (15050, "/")})
    monkeypatch.setattr(processes, "CHILDREN_SECONDS", 0.5)
    monkeypatch.setenv("DATABASE_URL", EmbeddedPostgres(home).url("postgres", "postgres_admin", "postgres"))
    monkeypatch.setenv("REDIS_URL", EmbeddedRedis(home).url())
    (tmp_path / "home").mkdir()
    product = Home(tmp_path / "home")
    yield product
    processes.stop(product, processes.names())


def living(home: Home, name: str) -> list[psutil.Process]:
    return [process for found, process in marked(home.path).values() if found == name]


def wait_for_child(home: Home) -> None:
    for _ in range(100):
        if len(living(home, "stubborn")) == 2:
            return
        time.sleep(0.1)
    raise AssertionError("the child did not start")


def test_a_server_gets_a_port_and_is_waited_for(product: Home) -> None:
    processes.start(product, ["mlflow"])
    ready: list[str] = []
    processes.wait_healthy(product, ["mlflow"], ready.append)

    status = processes.status(product, "mlflow")
    assert ready == ["mlflow"]
    assert (status.state, status.started) == ("running", True)
    assert status.address == f"http://127.0.0.1:{product.state()['ports']['mlflow']}"


def test_started_twice_it_runs_once(product: Home) -> None:
    processes.start(product, ["mlflow"])
    pid = processes.status(product, "mlflow").pid
    processes.start(product, ["mlflow"])

    assert [process.pid for process in living(product, "mlflow")] == [pid]


def test_one_that_ends_is_named_with_its_last_words(product: Home) -> None:
    processes.start(product, ["fails"])
    with pytest.raises(ProcessFailed, match=r"fails ended; see .*fails\.log: no luck today"):
        processes.wait_healthy(product, ["fails"])
    assert processes.status(product, "fails").state == "ended"


@pytest.mark.parametrize(("given", "told"), [(None, "1 processes"), ("3", "3 processes")])
def test_the_api_is_told_its_processes(
    product: Home, monkeypatch: pytest.MonkeyPatch, given: str | None, told: str
) -> None:
    if given is not None:
        monkeypatch.setenv("API_PROCESSES", given)
    processes.start(product, ["api"])

    with pytest.raises(ProcessFailed, match=told):
        processes.wait_healthy(product, ["api"])


@pytest.mark.parametrize("given", ["0", "two", "-1", "1.5"])
def test_processes_that_are_no_number_are_refused(product: Home, monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv("API_PROCESSES", given)

    with pytest.raises(SettingUnusable, match="API_PROCESSES must be a number from 1 to 99"):
        processes.start(product, ["api"])


def test_stop_leaves_no_child_that_moved_away_and_ignores_it(product: Home) -> None:
    processes.start(product, ["stubborn"])
    wait_for_child(product)

    assert processes.stop(product, ["stubborn"]) == ["stubborn"]
    assert living(product, "stubborn") == []
    assert processes.stop(product, ["stubborn"]) == []
    assert processes.status(product, "stubborn").state == "stopped"


def test_orphans_of_a_killed_process_end_before_it_starts_again(product: Home) -> None:
    processes.start(product, ["stubborn"])
    wait_for_child(product)
    before = {process.pid for process in living(product, "stubborn")}
    leader = processes.find(product, "stubborn")
    assert leader is not None
    leader.kill()
    leader.wait()

    processes.start(product, ["stubborn"])
    wait_for_child(product)
    assert before.isdisjoint(process.pid for process in living(product, "stubborn"))


def test_stop_finds_what_runs_when_the_state_is_lost(product: Home) -> None:
    processes.start(product, ["stubborn", "mlflow"])
    (product.path / "state.json").unlink()

    assert set(processes.stop(product, processes.names())) == {"stubborn", "mlflow"}
    assert marked(product.path) == {}


def test_a_stranger_with_the_old_number_is_not_ours(product: Home) -> None:
    with psutil.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as stranger:
        product.remember(processes={"mlflow": [stranger.pid, stranger.create_time() - 100, ""]})

        assert processes.find(product, "mlflow") is None
        processes.stop(product, ["mlflow"])
        assert stranger.is_running()
        stranger.kill()


def test_what_was_started_with_another_address_is_started_anew(product: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    processes.start(product, ["mlflow"])
    before = processes.status(product, "mlflow").pid
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:9/0")

    processes.start(product, [])

    assert processes.status(product, "mlflow").pid not in (None, before)


def test_settings_of_one_start_hold_for_later_ones(product: Home) -> None:
    processes.start(product, ["mlflow"], {"GATEWAY_SIMULATOR_PEOPLE": "9"})
    processes.stop(product, ["mlflow"])
    processes.start(product, ["mlflow"])

    (process,) = living(product, "mlflow")
    assert process.environ()["GATEWAY_SIMULATOR_PEOPLE"] == "9"
