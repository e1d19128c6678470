"""The operator's password, which opens the pages of Dagster and MLflow. RAPPORT_HOME keeps its hash alone.

Those pages show every tenant's data, so no user of a tenant gets in: whoever runs the installation does.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from pathlib import Path

from orchestration.runtime.home import Home, read_json, write_atomically

USER = "operator"


@dataclass(frozen=True)
class Operator:
    """What is known of the operator's login; read anew when the file changes."""

    file: Path

    @classmethod
    def of(cls, home: Home) -> Operator:
        return cls(home.path / "operator.json")

    def password_hash(self) -> str | None:
        """None before the first `rapport up`. Raises HomeUnusable."""
        found = read_json(self.file, "remove it, then `rapport password` makes a new password").get("password_hash")
        return found if isinstance(found, str) else None

    def ensure(self) -> str | None:
        """A new password if there was none; only its hash is kept, so this is the one time it can be shown."""
        return None if self.password_hash() else self.renew()

    def renew(self) -> str:
        """A new password in place of the old one, with which nobody gets in any more."""
        from serving.auth.passwords import hash_password

        password = secrets.token_urlsafe(18)
        write_atomically(self.file, json.dumps({"password_hash": hash_password(password)}))
        return password
