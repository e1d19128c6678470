from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from orchestration.runtime import processes, procfile, record, servers
from orchestration.runtime.environment import SettingUnusable
from orchestration.runtime.home import Home
from orchestration.runtime.postgres import EmbeddedPostgres
from orchestration.runtime.process_table import marked, process_at
from orchestration.runtime.processes import ProcessFailed
from orchestration.runtime.redis import EmbeddedRedis
from orchestration.runtime.supervisor import Supervisor, delay_after

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
        "simulator: python -m http.server ${SIMULATOR_PORT} --bind 127.0.0.1\n"
        "api: python -c 'raise SystemExit(\"${API_PROCESSES} processes\")'\n"
    )
    monkeypatch.setattr(procfile, "PROCFILE", tmp_path / "Procfile")
    # Not the ports of a demo that another worker may be starting.
    monkeypatch.setattr(servers, "PORTS", {name: port + 10_000 for name, port in servers.PORTS.items()})
    monkeypatch.setattr(servers, "HEALTH", {"simulator": "/"})
    monkeypatch.setenv("DATABASE_URL", EmbeddedPostgres(home).url("postgres", "postgres_admin", "postgres"))
    monkeypatch.setenv("REDIS_URL", EmbeddedRedis(home).url())
    (tmp_path / "home").mkdir()
    product = Home(tmp_path / "home")
    yield product
    processes.stop(product, procfile.names())


def living(home: Home, name: str) -> list[psutil.Process]:
    return [process for found, process in marked(home.path).values() if found == name]


def wait_for_child(home: Home) -> None:
    for _ in range(100):
        if len(living(home, "stubborn")) == 2:
            return
        time.sleep(0.1)
    raise AssertionError("the child did not start")


def leader(home: Home, name: str) -> psutil.Process:
    process = record.living(record.read(home).entries.get(name))
    assert process is not None
    return process


def wait_until(true: Callable[[], bool]) -> None:
    """The test's own time limit ends a wait in vain."""
    while not true():
        time.sleep(0.05)


def test_a_server_gets_a_port_and_is_waited_for(product: Home) -> None:
    processes.start(product, ["simulator"])
    ready: list[str] = []
    processes.wait_healthy(product, ["simulator"], ready.append)

    status = processes.status(product, "simulator")
    assert ready == ["simulator"]
    assert (status.state, status.started) == ("running", True)
    assert status.address == f"http://127.0.0.1:{product.state()['ports']['simulator']}"


def test_started_twice_it_runs_once(product: Home) -> None:
    processes.start(product, ["simulator"])
    pid = processes.status(product, "simulator").pid
    processes.start(product, ["simulator"])

    assert [process.pid for process in living(product, "simulator")] == [pid]


def test_one_that_ends_is_named_with_its_last_words(product: Home) -> None:
    processes.start(product, ["fails"])
    with pytest.raises(ProcessFailed, match=r"fails ended \(code 1\); see .*fails\.log: no luck today"):
        processes.wait_healthy(product, ["fails"])


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
    leader(product, "stubborn").kill()

    wait_until(lambda: processes.status(product, "stubborn").restarts == 1)
    wait_for_child(product)
    assert before.isdisjoint(process.pid for process in living(product, "stubborn"))


def test_stop_finds_what_runs_when_the_state_is_lost(product: Home) -> None:
    processes.start(product, ["stubborn", "simulator"])
    (product.path / "state.json").unlink()

    assert set(processes.stop(product, procfile.names())) == {"stubborn", "simulator"}
    assert marked(product.path) == {}


def test_a_stranger_with_the_old_number_is_not_ours(product: Home) -> None:
    with psutil.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as stranger:
        entry = record.Entry(pid=stranger.pid, created=stranger.create_time() - 100)
        record.Record(entries={"simulator": entry}).write(product)

        assert processes.status(product, "simulator").pid is None
        processes.stop(product, ["simulator"])
        assert stranger.is_running()
        stranger.kill()


def test_what_was_started_with_another_address_is_started_anew(product: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    processes.start(product, ["simulator"])
    before = processes.status(product, "simulator").pid
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:9/0")

    processes.start(product, [])

    assert processes.status(product, "simulator").pid not in (None, before)


def test_settings_of_one_start_hold_for_later_ones(product: Home) -> None:
    processes.start(product, ["simulator"], {"GATEWAY_SIMULATOR_PEOPLE": "9"})
    processes.stop(product, ["simulator"])
    processes.start(product, ["simulator"])

    (process,) = living(product, "simulator")
    assert process.environ()["GATEWAY_SIMULATOR_PEOPLE"] == "9"


class TestSupervision:
    def test_what_was_killed_runs_again_and_its_end_is_told(self, product: Home) -> None:
        processes.start(product, ["simulator"])
        processes.wait_healthy(product, ["simulator"])
        before = leader(product, "simulator")

        before.kill()

        wait_until(lambda: processes.status(product, "simulator").restarts == 1)
        processes.wait_healthy(product, ["simulator"])
        found = processes.status(product, "simulator")
        assert (found.state, found.restarts, found.last_exit) == ("running", 1, "SIGKILL")
        assert found.pid != before.pid

    def test_what_always_fails_is_tried_ever_later_and_said_loudly(self, product: Home) -> None:
        processes.start(product, ["fails"])

        wait_until(lambda: processes.status(product, "fails").restarts >= 4)

        entry = record.read(product).entries["fails"]
        assert entry.failures >= 4
        assert "process.keeps_ending name=fails" in wait_for_log(product, "process.keeps_ending")
        assert processes.status(product, "fails").last_exit == "code 1"

    def test_it_stops_what_waits_to_be_restarted(self, product: Home) -> None:
        processes.start(product, ["fails", "stubborn"])
        wait_until(lambda: processes.status(product, "fails").state == "restarting")

        processes.stop(product, ["fails"])

        assert processes.status(product, "fails").state == "stopped"
        assert processes.status(product, "stubborn").state == "running"
        processes.stop(product, ["stubborn"])
        assert marked(product.path) == {}, "the supervisor ends with the last"

    def test_processes_end_with_a_supervisor_that_was_killed_and_status_says_so(self, product: Home) -> None:
        processes.start(product, ["simulator"])
        processes.wait_healthy(product, ["simulator"])
        child, supervisor = leader(product, "simulator"), record.supervisor(product)
        assert supervisor is not None

        supervisor.kill()

        child.wait()
        assert processes.supervisor_status(product).state == "ended"
        assert processes.status(product, "simulator").state == "ended"

    @pytest.mark.slow
    def test_the_next_start_replaces_what_a_killed_supervisor_left(self, product: Home) -> None:
        processes.start(product, ["stubborn", "simulator"])
        wait_for_child(product)
        before = {process.pid for process in living(product, "stubborn")}
        supervisor = record.supervisor(product)
        assert supervisor is not None
        supervisor.kill()

        processes.start(product, ["simulator"])

        processes.wait_healthy(product, ["stubborn", "simulator"])
        wait_for_child(product)
        assert before.isdisjoint(process.pid for process in living(product, "stubborn"))

    def test_a_second_supervisor_leaves_the_first_alone(self, product: Home) -> None:
        processes.start(product, ["simulator"])
        first = record.supervisor(product)
        assert first is not None

        module = [sys.executable, "-m", "orchestration.runtime.supervisor"]
        second = subprocess.run(
            [*module, str(product.path), str(procfile.PROCFILE)], capture_output=True, text=True, check=False
        )

        assert (second.returncode, "supervisor.runs_already" in second.stderr) == (0, True)
        assert record.supervisor(product) == first

    def test_a_start_tries_at_once_what_waits(self, product: Home) -> None:
        processes.start(product, ["fails"])
        # The next try is four seconds away.
        wait_until(lambda: entry(product, "fails").failures >= 4 and entry(product, "fails").pid is None)

        processes.start(product, ["fails"])

        with pytest.raises(ProcessFailed, match="no luck today"):
            processes.wait_healthy(product, ["fails"])
        assert entry(product, "fails").failures < 4

    def test_processes_take_signals_as_ever(self, product: Home) -> None:
        """A mask or an ignored signal of the supervisor's would be inherited."""
        processes.start(product, ["simulator"])
        told = Path(f"/proc/{leader(product, 'simulator').pid}/status").read_text()
        masks = dict(line.split(":\t") for line in told.splitlines() if line.startswith(("SigBlk", "SigIgn")))

        assert int(masks["SigBlk"], 16) == 0
        assert not int(masks["SigIgn"], 16) & (1 << (signal.SIGTERM - 1) | 1 << (signal.SIGHUP - 1))


def wait_for_log(home: Home, text: str) -> str:
    file = home.logs / "supervisor.log"
    wait_until(lambda: text in file.read_text())
    return file.read_text()


class TestDelay:
    def test_grows_to_its_limit_and_stays_there(self) -> None:
        assert [delay_after(failures) for failures in (1, 2, 3, 4)] == [0.5, 1, 2, 4]
        assert delay_after(8) == delay_after(1_000_000) == 60

    def test_one_that_ran_well_begins_anew(self, tmp_path: Path) -> None:
        supervisor, entry = Supervisor(Home(tmp_path)), record.Entry(failures=7)

        supervisor._wait_longer("api", entry, ran_seconds=59)
        assert entry.failures == 8
        supervisor._wait_longer("api", entry, ran_seconds=60)
        assert entry.failures == 1


class TestEmbeddedStores:
    @pytest.mark.slow
    def test_a_killed_database_runs_again_with_what_it_held(
        self, product: Home, monkeypatch: pytest.MonkeyPatch, own_home: Home
    ) -> None:
        """The product's databases are its own here, for they are killed."""
        monkeypatch.delenv("DATABASE_URL")
        monkeypatch.delenv("REDIS_URL")
        before = {name: int(store(own_home).start()) for name, store in STORES.items()}
        processes.start(own_home, ["stubborn"])
        for name, store in STORES.items():
            process = process_at(pid_files(own_home)[name])
            assert process is not None
            process.kill()
            wait_until(lambda store=store: store(own_home).port() is not None)

        wait_until(lambda: all(entry(own_home, name).restarts == 1 for name in STORES))
        assert {name: store(own_home).port() for name, store in STORES.items()} == before
        processes.stop(own_home, ["stubborn"])

    def test_what_was_stopped_stays_stopped(
        self, product: Home, monkeypatch: pytest.MonkeyPatch, own_home: Home
    ) -> None:
        monkeypatch.delenv("DATABASE_URL")
        monkeypatch.delenv("REDIS_URL")
        for store in STORES.values():
            store(own_home).start()
        processes.start(own_home, ["stubborn"])
        for store in STORES.values():
            store(own_home).stop()

        processes.stop(own_home, ["stubborn"])

        assert all(store(own_home).port() is None for store in STORES.values())
        assert not any(entry(own_home, name).restarts for name in STORES)


STORES: dict[str, type[EmbeddedPostgres] | type[EmbeddedRedis]] = {
    "postgres": EmbeddedPostgres,
    "redis": EmbeddedRedis,
}


def pid_files(home: Home) -> dict[str, Path]:
    return {"postgres": EmbeddedPostgres(home)._data() / "postmaster.pid", "redis": home.redis / "pid"}


def entry(home: Home, name: str) -> record.Entry:
    return record.read(home).entries.get(name) or record.Entry()
