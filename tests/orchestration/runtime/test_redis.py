from __future__ import annotations

import socket
import stat
from collections.abc import Iterator

import psutil
import pytest
import redis

from orchestration.runtime import redis as runtime
from orchestration.runtime.home import Home
from orchestration.runtime.ports import free_port
from orchestration.runtime.process_table import servers_in
from orchestration.runtime.redis import PROGRAMS, EmbeddedRedis, RedisUnavailable


@pytest.fixture
def server(own_home: Home) -> Iterator[EmbeddedRedis]:
    server = EmbeddedRedis(own_home)
    server.start()
    yield server
    server.stop()


def client(server: EmbeddedRedis) -> redis.Redis:
    return redis.Redis.from_url(server.url(), decode_responses=True)


def process(server: EmbeddedRedis) -> psutil.Process:
    (found,) = servers_in(server.home.redis, PROGRAMS)
    return found


def test_starts_once_with_a_password_on_loopback(server: EmbeddedRedis) -> None:
    assert server.start() == server.port()
    with pytest.raises(redis.AuthenticationError):
        redis.Redis(port=server.port()).ping()
    assert {where.laddr.ip for where in process(server).net_connections("tcp")} == {"127.0.0.1"}
    assert stat.S_IMODE((server.home.redis / "redis.conf").stat().st_mode) == 0o600


def test_takes_another_port_when_somebody_was_quicker(server: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch) -> None:
    server.stop()
    with socket.socket() as quicker:
        quicker.bind(("127.0.0.1", 0))
        quicker.listen()
        taken = quicker.getsockname()[1]
        looks = iter([taken])
        monkeypatch.setattr(runtime, "free_port", lambda wanted: next(looks, None) or free_port(wanted))
        assert server.start() != taken
        assert client(server).ping()


def test_what_it_was_told_survives_a_stop(server: EmbeddedRedis) -> None:
    client(server).set("kept", "yes")
    assert server.stop()
    assert not server.stop()
    with pytest.raises(RedisUnavailable, match="rapport up"):
        server.url()
    server.start()
    assert client(server).get("kept") == "yes"


def test_recovers_from_a_kill(server: EmbeddedRedis) -> None:
    process(server).kill()
    server.start()
    assert client(server).ping()


def test_is_not_fooled_by_a_stranger_with_the_old_number(server: EmbeddedRedis) -> None:
    server.stop()
    with psutil.Popen(["sleep", "60"]) as stranger:
        (server.home.redis / "pid").write_text(f"{stranger.pid}\n")
        assert server.port() is None
        server.start()
        assert client(server).ping()
        assert stranger.is_running()
        stranger.kill()


@pytest.mark.parametrize("text", ["", "not a number", "4194305"])
def test_a_server_whose_pid_file_is_damaged_is_replaced_not_doubled(server: EmbeddedRedis, text: str) -> None:
    (server.home.redis / "pid").write_text(text)
    server.start()
    assert process(server).pid == int((server.home.redis / "pid").read_text())
