"""An installation of a test's own, used by its commands: two tenants with a small history in PostgreSQL."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import psycopg

from orchestration.runtime.home import PROJECT_ROOT, Home

HISTORY = PROJECT_ROOT / "tests" / "feature_store" / "history.sql"
RAPPORT = Path(sys.executable).with_name("rapport")
LAYERS = ("staging", "intermediate", "features", "marts")
WAREHOUSE = " or ".join(f"group:{group}" for group in ("ingest", *LAYERS))
# Which load last touched whom: it steers the next build and tells nothing of the business.
WORKING_TABLES = ("intermediate.int_contacts__changed",)
# When a row arrived and by which load tells one run from another; what it says must not differ.
OF_THE_RUN = ("_load_id", "load_id", "created_timestamp", "changed_xid")


class Installation:
    """What lies in a RAPPORT_HOME, which other users may pass through: PostgreSQL runs as one of them."""

    def __init__(self, path: Path, **settings: str) -> None:
        self.home = Home(path)
        self.environment = os.environ | {"RAPPORT_HOME": str(path), "RAPPORT_ENV_FILE": os.devnull} | settings

    def rapport(self, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(RAPPORT), *words],
            env=self.environment | settings,
            cwd=PROJECT_ROOT,
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )

    def done(self, *words: str, **settings: str) -> str:
        """What the command printed; it succeeded."""
        finished = self.rapport(*words, **settings)
        assert finished.returncode == 0, finished.stderr[-3000:]
        return finished.stdout

    def start(self, *words: str, **settings: str) -> subprocess.Popen[str]:
        """The command under way, in a process group of its own."""
        return subprocess.Popen(
            [str(RAPPORT), *words],
            env=self.environment | settings,
            cwd=PROJECT_ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def url(self, role: str = "postgres", database: str = "rapport") -> str:
        secret = {"postgres": "postgres_admin"}.get(role, f"postgres_{role}")
        password, port = self.home.secrets()[secret], self.home.state()["postgres_port"]
        return f"postgresql://{role}:{password}@127.0.0.1:{port}/{database}"

    @contextmanager
    def admin(self) -> Iterator[psycopg.Connection]:
        with psycopg.connect(self.url(), autocommit=True) as connection:
            yield connection

    def make_history(self) -> None:
        self.done("migrate")
        with psycopg.connect(self.url()) as connection:
            connection.execute(HISTORY.read_text())

    def raw(self) -> dict[str, tuple[int, int]]:
        """Rows, and a sum over their contents that no order changes, of every raw table."""
        return _summed(self.home.warehouse.with_name("raw.duckdb"), ("raw",))

    def built(self) -> dict[str, tuple[int, int]]:
        """The same of everything dbt built."""
        return _summed(self.home.warehouse, LAYERS)

    def metadata(self, *words: str) -> list[dict[str, object]]:
        found: list[dict[str, object]] = json.loads(self.done(*words, "--json"))
        return found


@contextmanager
def installed(**settings: str) -> Iterator[Installation]:
    """An empty installation in a folder of its own; stopped and removed at the end.

    Not below pytest's folder: every run that starts closes that to other users.
    """
    with tempfile.TemporaryDirectory(prefix="rapport installation ", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        made = Installation(Path(name), **settings)
        try:
            yield made
        finally:
            made.rapport("down")


def _summed(file: Path, schemas: tuple[str, ...]) -> dict[str, tuple[int, int]]:
    wanted = ", ".join(f"'{schema}'" for schema in schemas)
    with duckdb.connect(str(file), read_only=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        columns: dict[str, list[str]] = {}
        for schema, table, column in connection.execute(
            "SELECT table_schema, table_name, column_name FROM information_schema.columns"
            f" WHERE table_schema IN ({wanted}) AND table_name NOT LIKE '\\_%' ESCAPE '\\' ORDER BY ALL"
        ).fetchall():
            columns.setdefault(f"{schema}.{table}", []).append(column)
        found = {}
        for table, names in columns.items():
            if table in WORKING_TABLES:
                continue
            told = ", ".join(f'"{name}"' for name in names if name not in OF_THE_RUN)
            summed = "SELECT count(*), coalesce(sum(hash(r::varchar)::hugeint % 1000000007), 0)::bigint FROM ({}) AS r"
            [found[table]] = connection.execute(summed.format(f"SELECT {told} FROM {file.stem}.{table}")).fetchall()
    return found
