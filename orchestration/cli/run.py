"""rapport run: the Dagster graph from a shell."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from orchestration.cli import console
from orchestration.runtime.home import Home


def run(
    select: str = typer.Option(None, "--select", help='A Dagster selection, e.g. group:marts or "key:raw/messages+".'),
    tenant: list[str] = typer.Option([], "--tenant", help="Train, score and activate for these tenants alone."),
    as_json: bool = console.json_option(),
    wait: Annotated[
        float, typer.Option("--wait", help="Seconds to wait while another run writes the warehouse.")
    ] = 600.0,
) -> None:
    """Run the graph: ingest, contracts, dbt, features, models, scores, segment."""
    from orchestration.lib.dbt_project import parse_ahead

    parse_ahead()
    from orchestration.lib import progress, running
    from orchestration.runtime import services

    home = Home.from_environment()
    services.start_stores(home)
    running.prepare(home)
    with console.steps() as show:
        progress.listeners.append(show)
        try:
            reports = running.run_graph(
                home,
                select,
                list(tenant) or None,
                wait_seconds=wait,
                on_wait=lambda: console.err.print(console.WAITING),
            )
        finally:
            progress.listeners.remove(show)
    if as_json:
        console.print_json([dataclasses.asdict(report) for report in reports])
        return
    for report in reports:
        rows = [[step.name, step.rows, step.seconds] for step in report.steps]
        console.table(report.tenant, ["step", "rows", "seconds"], rows)
        for check in report.failed_checks:
            console.out.print(f"[yellow]warning:[/yellow] {check}")
