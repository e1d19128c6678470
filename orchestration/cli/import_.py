"""rapport import: the history a business already has."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from orchestration.cli import console
from orchestration.runtime.home import Home

SHOWN_AFTER_SECONDS = 2.0
REJECTS_EXIST = 3


def import_history(
    mapping: Path = typer.Argument(help="The YAML file that maps the business's files; docs/how-to/import-history.md."),
    tenant: str = typer.Option(..., "--tenant", help="The tenant's slug."),
    variables: list[str] = typer.Option(
        [], "--var", metavar="NAME=VALUE", help="A value for a variable of the mapping."
    ),
    rejects_dir: Path = typer.Option(
        None, "--rejects-dir", help="Folder of the rejected rows; default in RAPPORT_HOME."
    ),
    dry_run: bool = typer.Option(False, "--dry-run", help="Read and check everything, load nothing."),
    strict: bool = typer.Option(False, "--strict", help="Load nothing when any row is rejected; exit code 3."),
    as_json: bool = console.json_option(),
) -> None:
    """Import contacts, consents, campaigns, messages and orders from CSV, JSON or Parquet files. Safe to repeat."""
    import datetime as dt

    from orchestration.runtime import services
    from orchestration.runtime.environment import process_environment
    from serving.importing import service

    given = _pairs(variables)
    home = Home.from_environment()
    services.start_stores(home)
    environment = process_environment(home)
    found = _tenant_id(environment["FEATURE_STORE_OPERATIONAL_URL"], tenant)
    with _progress() as show:
        try:
            summary = service.import_history(
                environment["SERVING_DATABASE_URL"],
                found,
                mapping,
                dt.datetime.now(dt.UTC),
                show,
                rejects_dir or home.rejects / tenant,
                phone_key=environment["SERVING_PHONE_HMAC_KEY"],
                variables=given,
                dry_run=dry_run,
                strict=strict,
            )
        except service.RejectedRows as error:
            raise console.Refused(str(error), REJECTS_EXIST) from error
        except service.ImportRefused as error:
            raise console.Refused(str(error), console.BAD_INPUT) from error
    if as_json:
        console.print_json(summary.as_json())
        return
    columns = ["table", "read", "loaded", "changed", "already there", "duplicates", "rejected"]
    rows = [
        [name, t.read, t.loaded, t.changed, t.already_there, t.duplicates, sum(t.rejected.values())]
        for name, t in summary.tables.items()
    ]
    console.table(f"Checked for {tenant}" if dry_run else f"Imported into {tenant}", columns, rows)
    reasons = [[name, reason, count] for name, t in summary.tables.items() for reason, count in t.rejected.items()]
    if reasons:
        console.table("Rejected", ["table", "reason", "rows"], reasons)
        for path in summary.rejects.values():
            console.out.print(path, highlight=False, soft_wrap=True)
    console.out.print(f"{summary.seconds:.1f} s, {summary.rows_per_second:,.0f} rows/s", highlight=False)


def _tenant_id(operational_url: str, slug: str) -> uuid.UUID:
    import psycopg

    # Only the role of ingest may ask across tenants which one a slug names.
    with psycopg.connect(operational_url) as connection:
        row = connection.execute("SELECT id FROM tenants WHERE slug = %s", (slug,)).fetchone()
    if row is None:
        raise console.Refused(f"no tenant is called {slug}; `rapport tenant create` makes one", console.BAD_INPUT)
    return uuid.UUID(str(row[0]))


def _pairs(variables: list[str]) -> dict[str, str]:
    pairs = {}
    for text in variables:
        name, separator, value = text.partition("=")
        if not separator or not name:
            raise console.Refused(f"--var {text}: write NAME=VALUE", console.BAD_INPUT)
        pairs[name] = value
    return pairs


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """A bar on a terminal once the work has taken two seconds; nothing elsewhere."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    bar = Progress(*columns, console=console.err, transient=True, disable=not console.err.is_terminal)
    task = bar.add_task("", total=None)
    started = time.monotonic()
    shown = False

    def show(step: str, done: int, total: int) -> None:
        nonlocal shown
        if not shown and time.monotonic() - started > SHOWN_AFTER_SECONDS:
            bar.start()
            shown = True
        bar.update(task, description=step, completed=done, total=total or None)

    try:
        yield show
    finally:
        bar.stop()
