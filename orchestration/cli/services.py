"""up, down, status, doctor, migrate."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from orchestration.cli import console
from orchestration.runtime.home import Home

if TYPE_CHECKING:
    from orchestration.runtime import processes


def up(
    only: list[str] = typer.Option([], "--only", help="Start these processes alone (with the databases)."),
    as_json: bool = console.json_option(),
) -> None:
    """Start the product: databases, schema, API, worker, simulator, MLflow, Dagster."""
    from orchestration.runtime import procfile, services

    unknown = set(only) - set(procfile.names())
    if unknown:
        raise console.Refused(f"no such process: {', '.join(sorted(unknown))}", console.BAD_INPUT)
    home = Home.from_environment()
    with home.lock(), console.working("starting"):
        services.up(home, only or None, report=lambda line: console.err.print(f"  {line}", highlight=False))
        password = services.operator_password(home, only or None)
    if password:
        console.show_login(password)
    _show(home, as_json, {"supervisor", *(only or procfile.names())})


def down(as_json: bool = console.json_option()) -> None:
    """Stop the product. Nothing is lost: what was under way goes on at the next start."""
    from orchestration.runtime import services

    home = Home.from_environment()
    with home.lock(), console.working("stopping"):
        stopped = services.down(home)
    if as_json:
        console.print_json({"stopped": stopped})
    else:
        console.out.print(f"stopped: {', '.join(stopped)}" if stopped else "nothing was running")


def status(as_json: bool = console.json_option()) -> None:
    """Say what runs where, and how old the figures are. Exits with 3 when something started does not answer."""
    _show(Home.from_environment(), as_json)


def password() -> None:
    """Make a new password for the pages of Dagster and MLflow; the old one ends. It is shown this once."""
    from orchestration.pages.operator import Operator

    home = Home.from_environment()
    with home.lock():
        console.show_login(Operator.of(home).renew())


def exec_process(name: str = typer.Argument(help="A process, as `rapport status` lists them.")) -> None:
    """Become one process of the product, in the foreground: for a supervisor of your own (systemd, containers)."""
    from orchestration.runtime import procfile, services

    if name not in procfile.names():
        raise console.Refused(f"no such process: {name}", console.BAD_INPUT)
    services.become(Home.from_environment(), name)


def doctor(as_json: bool = console.json_option()) -> None:
    """Say what this machine lacks, and how to get it."""
    from orchestration.runtime.doctor import findings

    found = list(findings())
    if as_json:
        console.print_json([dataclasses.asdict(finding) for finding in found])
    else:
        for finding in found:
            mark = "[green]ok[/green]     " if finding.ok else "[red]missing[/red]"
            console.out.print(
                f"{mark} {finding.name}: {console.escaped(finding.detail)}", highlight=False, soft_wrap=True
            )
            if not finding.ok:
                console.out.print(f"        → {finding.remedy}", highlight=False)
    if not all(finding.ok for finding in found):
        raise typer.Exit(console.NOT_READY)


def migrate(as_json: bool = console.json_option()) -> None:
    """Bring the operational database to the newest schema."""
    from orchestration.runtime import services

    home = Home.from_environment()
    services.start_stores(home)
    revision = services.migrate(home)
    console.print_json({"revision": revision}) if as_json else console.out.print(f"schema at revision {revision}")


def _show(home: Home, as_json: bool, judged: set[str] | None = None) -> None:
    """Prints what runs; refuses if one of `judged` (default: all) was started and does not answer."""
    from orchestration.runtime import services
    from orchestration.runtime.figures import published_figures

    lines = services.status(home)
    figures = published_figures(home, dt.datetime.now(dt.UTC)) if lines[0].healthy else None
    if as_json:
        told = [dataclasses.asdict(line) | {"state": line.state, "last_exit": line.last_exit or None} for line in lines]
        if figures is not None:
            told.append({"name": "figures", "state": "late" if figures.is_late else "up to date"} | vars(figures))
        console.print_json(told)
    else:
        columns = ["service", "state", "address", "restarts", "last exit", "next try"]
        console.table(None, columns, [[*_cells(line)] for line in lines])
        for words in figures.lines if figures is not None else ():
            console.out.print(console.escaped(words), highlight=False, soft_wrap=True)
    if any(line.started and not line.healthy for line in lines if judged is None or line.name in judged):
        raise typer.Exit(console.NOT_READY)


def _cells(line: processes.Status) -> Iterator[str | None]:
    yield from (line.name, line.state, line.address)
    yield str(line.restarts) if line.restarts else None
    yield line.last_exit
    yield None if line.next_try_seconds is None else f"in {line.next_try_seconds:.0f} s"
