"""How every benchmark says what it found: a table for people, and $RAPPORT_HOME/bench/<name>.json."""

from __future__ import annotations

import json
import os
import platform
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

PROJECT_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Figure:
    """`limit` is what the same run measured as the best possible; `goal` bounds `value` when there is no limit, and
    `ratio` (value over limit) when there is one. `ok` is None where nothing was asked."""

    name: str
    value: float
    unit: str
    limit: float | None = None
    ratio: float | None = None
    goal: str | None = None
    ok: bool | None = None


def figure(
    name: str,
    value: float,
    unit: str,
    limit: float | None = None,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
) -> Figure:
    """`at_least` and `at_most` judge value over limit where a limit is given, the value itself where not."""
    ratio = value / limit if limit else None
    judged = value if ratio is None else ratio
    goal = f"≥ {at_least:g}" if at_least is not None else f"≤ {at_most:g}" if at_most is not None else None
    ok = None if goal is None else (at_least is None or judged >= at_least) and (at_most is None or judged <= at_most)
    return Figure(name, _rounded(value), unit, limit and _rounded(limit), ratio and _rounded(ratio), goal, ok)


def report(name: str, figures: list[Figure], **details: Any) -> int:
    """Prints the figures, writes them as JSON with `details`, and answers with the exit code: zero when all is met."""
    print(table(figures))
    bench = Path(os.environ.get("RAPPORT_HOME") or PROJECT_ROOT / ".rapport") / "bench"
    bench.mkdir(parents=True, exist_ok=True)
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    content = {"name": name, "machine": machine, "figures": [asdict(one) for one in figures], **details}
    (bench / f"{name}.json").write_text(json.dumps(content, indent=1, default=str))
    return 0 if all(one.ok is not False for one in figures) else 1


def table(figures: list[Figure]) -> str:
    """The figures as aligned text."""
    rows = [["figure", "value", "limit", "ratio", "goal", ""]]
    for one in figures:
        met = "" if one.ok is None else "met" if one.ok else "MISSED"
        rows.append([one.name, f"{one.value:,} {one.unit}", _shown(one.limit), _shown(one.ratio), one.goal or "", met])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)


@contextmanager
def scratch_database(prefix: str) -> Iterator[tuple[Path, dict[str, str]]]:
    """A folder and the URLs by role (admin, app, worker, etl_read, …) of an empty migrated database on a PostgreSQL of
    the benchmark's own, stopped and removed at the end."""
    from orchestration.runtime.home import Home
    from orchestration.runtime.postgres import EmbeddedPostgres
    from serving.migrations.service import LOGIN_ROLES, create_database, migrate

    with tempfile.TemporaryDirectory(prefix=f"{prefix}-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        home = Home(folder)
        server = EmbeddedPostgres(home)
        server.start()
        try:
            secrets = home.secrets()
            admin = server.url("postgres", "postgres_admin", "bench")
            create_database(admin)
            migrate(admin, {role: secrets[f"postgres_{role}"] for role in LOGIN_ROLES})
            yield folder, {"admin": admin} | {r: server.url(r, f"postgres_{r}", "bench") for r in LOGIN_ROLES}
        finally:
            server.stop()


def _rounded(value: float) -> float:
    """Four digits are what a measurement is worth."""
    return float(f"{value:.4g}") if abs(value) < 1000 else round(value)


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:,}"
