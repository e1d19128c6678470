from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from orchestration.runtime import postgres
from orchestration.runtime.home import Home
from orchestration.runtime.postgres import EmbeddedPostgres, PostgresUnavailable
from orchestration.runtime.process_table import servers_in


@pytest.fixture
def server(own_home: Home) -> EmbeddedPostgres:
    server = EmbeddedPostgres(own_home)
    server.start()
    return server


def ask(server: EmbeddedPostgres, query: str = "SELECT 1") -> object:
    with psycopg.connect(server.url("postgres", "postgres_admin", "postgres")) as connection:
        row = connection.execute(query).fetchone()
    assert row is not None
    return row[0]


def data_of(server: EmbeddedPostgres) -> Path:
    return Path(str(ask(server, "SHOW data_directory")))


@pytest.fixture
def stranger() -> Iterator[psutil.Popen]:
    with psutil.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


class TestStart:
    def test_again_changes_nothing(self, server: EmbeddedPostgres) -> None:
        assert server.start() == server.start() == server.port()

    def test_listens_on_loopback_alone_and_asks_for_a_password(self, server: EmbeddedPostgres) -> None:
        assert ask(server, "SHOW listen_addresses") == "127.0.0.1"
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(f"postgresql://postgres:wrong@127.0.0.1:{server.port()}/postgres")

    def test_takes_another_port_when_its_own_was_taken_meanwhile(self, server: EmbeddedPostgres) -> None:
        old = server.port()
        server.stop()
        with socket.socket() as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            other.bind(("127.0.0.1", old))
            other.listen()
            assert server.start() != old
        assert ask(server) == 1

    def test_recovers_from_a_killed_server_with_a_backend_at_work(self, server: EmbeddedPostgres) -> None:
        data = data_of(server)
        with psycopg.connect(server.url("postgres", "postgres_admin", "postgres")) as writer:
            writer.execute("CREATE TABLE IF NOT EXISTS kept AS SELECT 7 AS id")
        busy = psycopg.connect(server.url("postgres", "postgres_admin", "postgres"))
        backend = psutil.Process(busy.info.backend_pid)
        backend.suspend()  # it cannot notice that its server died

        killed = psutil.Process(int((data / "postmaster.pid").read_text().split()[0]))
        killed.kill()
        killed.wait()
        assert server.start() == server.port()

        assert ask(server, "SELECT id FROM kept") == 7
        assert not backend.is_running()

    def test_is_not_fooled_by_a_stranger_with_the_old_number(
        self, server: EmbeddedPostgres, stranger: psutil.Popen
    ) -> None:
        pid_file = data_of(server) / "postmaster.pid"
        lines = pid_file.read_text().splitlines()
        server.stop()
        pid_file.write_text("\n".join([str(stranger.pid), *lines[1:]]) + "\n")

        assert server.port() is None
        server.start()
        assert ask(server) == 1
        assert stranger.is_running()

    def test_makes_the_cluster_anew_when_the_first_attempt_was_cut_off(self, open_folder: Path) -> None:
        home = Home(open_folder)
        (home.postgres / "making" / "base").mkdir(parents=True)
        (home.postgres / "password").write_text("half")
        server = EmbeddedPostgres(home)
        try:
            server.start()
            assert ask(server) == 1
            assert not (home.postgres / "password").exists()
        finally:
            server.stop()


class TestStop:
    def test_leaves_no_process_and_again_changes_nothing(self, server: EmbeddedPostgres) -> None:
        data = data_of(server)

        assert server.stop()
        assert servers_in(data, ("postgres",)) == []
        assert not server.stop()
        with pytest.raises(PostgresUnavailable, match="rapport up"):
            server.url("postgres", "postgres_admin")

    def test_does_not_wait_for_open_transactions(self, server: EmbeddedPostgres) -> None:
        client = psycopg.connect(server.url("postgres", "postgres_admin", "postgres"))
        client.execute("SELECT 1")
        began = time.monotonic()

        assert server.stop()
        assert time.monotonic() - began < 20


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as another user")
class TestAsRoot:
    def test_data_below_a_closed_folder_are_kept_where_the_server_gets_to(
        self, open_folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        state = open_folder / "state"
        state.mkdir()
        monkeypatch.setattr(postgres, "ROOT_STATE", state)
        closed = open_folder / "closed"
        (closed / "home").mkdir(parents=True)
        closed.chmod(0o700)
        server = EmbeddedPostgres(Home(closed / "home"))
        try:
            server.start()
            data = data_of(server)
            assert data.is_relative_to(state)
            assert data.owner() in postgres.UNPRIVILEGED
            assert closed.stat().st_mode & 0o777 == 0o700
            closed.chmod(0o755)
            assert data_of(server) == data, "a cluster stays where it was made"
        finally:
            server.stop()

    def test_programs_below_a_closed_folder_are_copied(
        self, open_folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(postgres, "ROOT_STATE", open_folder / "state")
        monkeypatch.setattr(postgres, "_reachable", lambda path: path.is_relative_to(open_folder))

        binaries = postgres._binaries("nobody")

        assert binaries.is_relative_to(open_folder / "state")
        command = [binaries / "postgres", "--version"]
        assert b"PostgreSQL" in subprocess.run(command, user="nobody", cwd="/", capture_output=True, check=True).stdout
