"""rapport backfill: days of the operational tables, read once more."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Annotated

import typer

from orchestration.cli import console
from orchestration.runtime.home import Home


def backfill(
    first: dt.datetime = typer.Option(..., "--from", formats=["%Y-%m-%d"], help="The first UTC day."),
    last: dt.datetime = typer.Option(None, "--to", formats=["%Y-%m-%d"], help="The last UTC day; the first without."),
    tables: list[str] = typer.Option([], "--table", help="Read this operational table alone. May be repeated."),
    as_json: bool = console.json_option(),
    wait: Annotated[
        float, typer.Option("--wait", help="Seconds to wait while another run writes the warehouse.")
    ] = 600.0,
) -> None:
    """Read days of the operational tables again, then judge, build and publish. Safe to repeat."""
    from orchestration.lib import backfilling, progress, running
    from orchestration.runtime import services

    days = backfilling.days_between(first.date(), (last or first).date(), dt.datetime.now(dt.UTC).date())
    home = Home.from_environment()
    services.start_stores(home)
    running.prepare(home)
    with console.counting("days") as count, console.steps() as show:
        progress.listeners.append(show)
        try:
            reports = backfilling.backfill_days(
                home, days, tables, count, wait_seconds=wait, on_wait=lambda: console.err.print(console.WAITING)
            )
        finally:
            progress.listeners.remove(show)
    if as_json:
        console.print_json([dataclasses.asdict(report) for report in reports])
        return
    rows = [
        [str(day), sum(step.rows or 0 for step in report.steps)] for day, report in zip(days, reports, strict=False)
    ]
    console.table("Read again", ["day", "rows"], rows)
    for report in reports[len(days) :]:
        console.table(
            "Then", ["step", "rows", "seconds"], [[step.name, step.rows, step.seconds] for step in report.steps]
        )
