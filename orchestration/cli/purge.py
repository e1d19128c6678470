"""rapport purge: what is kept of erased people outside the operational database, removed now."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from orchestration.cli import console
from orchestration.runtime.home import Home


def purge(
    as_json: bool = console.json_option(),
    wait: Annotated[
        float, typer.Option("--wait", help="Seconds to wait while another run writes the warehouse.")
    ] = 600.0,
) -> None:
    """Remove erased people from the warehouse and what was made of it, now; `rapport up` does so within minutes."""
    from orchestration.lib import running
    from orchestration.runtime import services

    home = Home.from_environment()
    services.start_stores(home)
    running.prepare(home)

    import dagster as dg

    from orchestration.lib import purging

    with dg.DagsterInstance.get() as instance:
        done = purging.purge(home, instance, wait_seconds=wait, on_wait=lambda: console.err.print(console.WAITING))
    if as_json:
        console.print_json(dataclasses.asdict(done))
        return
    console.out.print(f"{done.people:,} people, {done.rows:,} rows", highlight=False)
    if done.waits_for:
        console.out.print(
            f"[yellow]to be purged again:[/yellow] {len(done.waits_for)} runs were under way and may have read them"
        )
