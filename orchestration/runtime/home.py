"""RAPPORT_HOME: the one folder that holds everything a running product remembers outside its databases."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import secrets
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROJECT_ROOT = Path(__file__).resolve().parents[2]

SECRET_NAMES = (
    "postgres_admin",
    "postgres_app",
    "postgres_worker",
    "postgres_etl_read",
    "postgres_publisher",
    "redis",
    "jwt",
    "phone_hmac",
    "webhook_app",
    "webhook_verify",
    "gateway_access_token",
)
LONGEST_SOCKET_FOLDER = 90

_held: set[Path] = set()


class HomeLocked(Exception):
    """Another rapport command is changing this RAPPORT_HOME."""


class HomeUnusable(Exception):
    """A file or folder of RAPPORT_HOME cannot be read or written; the text names it and says what to do."""


@dataclass(frozen=True)
class Home:
    path: Path

    @classmethod
    def from_environment(cls) -> Home:
        """The folder RAPPORT_HOME names, else `.rapport` beside the project; made if missing, closed to other users.

        Raises HomeUnusable.
        """
        path = Path(os.environ.get("RAPPORT_HOME") or PROJECT_ROOT / ".rapport").expanduser().resolve()
        try:
            if not path.is_dir():
                path.mkdir(parents=True)
                path.chmod(0o700)
        except OSError as error:
            raise HomeUnusable(
                f"{path} cannot be made ({error.strerror}); name a folder of yours in RAPPORT_HOME"
            ) from error
        if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
            raise HomeUnusable(f"{path} is not writable by this user; name a folder of yours in RAPPORT_HOME")
        return cls(path)

    @property
    def postgres(self) -> Path:
        return self.path / "postgres"

    @property
    def redis(self) -> Path:
        return self.path / "redis"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def warehouse(self) -> Path:
        return self.path / "warehouse" / "warehouse.duckdb"

    @property
    def data_docs(self) -> Path:
        return self.path / "data_docs"

    @property
    def snapshots(self) -> Path:
        return self.path / "snapshots"

    @property
    def rejects(self) -> Path:
        """Rows that imports refused, a folder for each tenant."""
        return self.path / "rejects"

    @property
    def dagster(self) -> Path:
        return self.path / "dagster"

    @property
    def bundles(self) -> Path:
        return self.path / "bundles"

    @property
    def sockets(self) -> Path:
        """The folder of the servers' sockets. An address of a socket has 107 bytes at most: that of a home that lies
        deep is in the system's folder for temporary files."""
        inside = self.path / "run"
        if len(os.fsencode(inside)) <= LONGEST_SOCKET_FOLDER:
            return inside
        digest = hashlib.sha256(os.fsencode(self.path)).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"rapport-{os.geteuid()}-{digest}"

    @property
    def mlflow_uri(self) -> str:
        return f"sqlite:///{self.path / 'mlflow' / 'mlflow.db'}"

    def secrets(self) -> dict[str, str]:
        """The installation's generated secrets by name, made at first use; the file is readable by its owner alone.

        Raises HomeUnusable when they are lost: new ones would not open the databases made with the old.
        """
        file = self.path / "secrets.json"
        known: dict[str, str] = read_json(
            file, "put back a copy of it: it holds the passwords of this installation's databases"
        )
        if not known and {"postgres_port", "redis_port"} & self.state().keys():
            raise HomeUnusable(f"{file} is missing; put back a copy of it, or begin with another RAPPORT_HOME")
        missing = [name for name in SECRET_NAMES if name not in known]
        if missing:
            known |= {name: secrets.token_urlsafe(24) for name in missing}
            write_atomically(file, json.dumps(known, indent=1))
        return known

    def renew_secret(self, name: str) -> None:
        """Replaces a secret that nothing outside this file knows; processes learn of it when they start."""
        known = self.secrets() | {name: secrets.token_urlsafe(24)}
        write_atomically(self.path / "secrets.json", json.dumps(known, indent=1))

    def state(self) -> dict[str, Any]:
        """What runs where: ports and process ids by name. Empty when nothing was ever started."""
        return read_json(self.path / "state.json", "remove it, then `rapport down` stops what still runs")

    def remember(self, **changes: Any) -> None:
        # The supervisor remembers too, while a command holds the folder.
        with (self.path / "state.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            write_atomically(self.path / "state.json", json.dumps(self.state() | changes, indent=1))

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Holds the folder for a change of what runs; within it, again changes nothing.

        Raises HomeLocked when another command holds it.
        """
        if self.path in _held:
            yield
            return
        try:
            handle = (self.path / "lock").open("w")
        except OSError as error:
            raise HomeUnusable(f"{self.path / 'lock'} cannot be written ({error.strerror})") from error
        with handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise HomeLocked(
                    f"another rapport command is changing what runs in {self.path}; try again when it is done"
                ) from error
            _held.add(self.path)
            try:
                yield
            finally:
                _held.discard(self.path)


def write_atomically(file: Path, text: str) -> None:
    """Replaces the file whole, so that a reader or a crash sees the old text or the new. Only its owner may read it.

    Raises HomeUnusable.
    """
    name = None
    try:
        handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
        with os.fdopen(handle, "w") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        os.replace(name, file)
    except BaseException as error:
        if name is not None:
            with contextlib.suppress(OSError):
                os.unlink(name)
        if isinstance(error, OSError):
            raise HomeUnusable(f"{file} cannot be written ({error.strerror})") from error
        raise


def read_json(file: Path, remedy: str) -> dict[str, Any]:
    """The JSON object in the file, empty when there is no file."""
    try:
        found = json.loads(file.read_bytes())
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise HomeUnusable(f"{file} cannot be read ({error.strerror}) by this user") from error
    except ValueError as error:
        raise HomeUnusable(f"{file} is damaged (not JSON); {remedy}") from error
    if not isinstance(found, dict):
        raise HomeUnusable(f"{file} is damaged (not a JSON object); {remedy}")
    return found
