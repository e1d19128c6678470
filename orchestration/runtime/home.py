"""RAPPORT_HOME: the one folder that holds everything a running product remembers outside its databases."""

from __future__ import annotations

import contextlib
import fcntl
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
    "redis",
    "jwt",
    "phone_hmac",
    "webhook_app",
    "webhook_verify",
    "gateway_access_token",
)


class HomeLocked(Exception):
    """Another rapport command is changing this RAPPORT_HOME."""


@dataclass(frozen=True)
class Home:
    path: Path

    @classmethod
    def from_environment(cls) -> Home:
        """The folder RAPPORT_HOME names, else `.rapport` beside the project; made if missing, private to its owner."""
        path = Path(os.environ.get("RAPPORT_HOME") or PROJECT_ROOT / ".rapport").expanduser().resolve()
        path.mkdir(parents=True, exist_ok=True)
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
    def dagster(self) -> Path:
        return self.path / "dagster"

    @property
    def bundles(self) -> Path:
        return self.path / "bundles"

    @property
    def mlflow_uri(self) -> str:
        return f"sqlite:///{self.path / 'mlflow' / 'mlflow.db'}"

    def secrets(self) -> dict[str, str]:
        """The installation's generated secrets by name, made at first use; the file is readable by its owner alone."""
        file = self.path / "secrets.json"
        known: dict[str, str] = json.loads(file.read_text()) if file.exists() else {}
        missing = [name for name in SECRET_NAMES if name not in known]
        if missing:
            known |= {name: secrets.token_urlsafe(24) for name in missing}
            write_atomically(file, json.dumps(known, indent=1), mode=0o600)
        return known

    def state(self) -> dict[str, Any]:
        """What runs where: ports and process ids by name. Empty when nothing was ever started."""
        file = self.path / "state.json"
        return json.loads(file.read_text()) if file.exists() else {}

    def remember(self, **changes: Any) -> None:
        write_atomically(self.path / "state.json", json.dumps(self.state() | changes, indent=1))

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Holds the folder for a change of what runs. Raises HomeLocked when another command holds it."""
        with (self.path / "lock").open("w") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise HomeLocked(f"another rapport command is starting or stopping services in {self.path}") from error
            yield


def write_atomically(file: Path, text: str, mode: int = 0o644) -> None:
    """Replaces the file whole, so that a reader or a crash sees the old text or the new."""
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    with os.fdopen(handle, "w") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    os.chmod(name, mode)
    os.replace(name, file)
