"""rapport demo."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from orchestration.cli import console
from orchestration.runtime.home import Home


def demo(as_json: bool = console.json_option()) -> None:
    """Run the whole loop on simulated people, show what came of it, and leave the product running."""
    from orchestration.demo.play import play
    from orchestration.demo.report import show
    from orchestration.runtime import services
    from orchestration.runtime.home import write_atomically

    home = Home.from_environment()
    with home.lock(), console.steps() as show_step:
        report = play(home, dt.datetime.now(dt.UTC), _bar, show_step)
    write_atomically(home.path / "demo-report.json", json.dumps(report.as_json(), indent=2, default=str))
    password = services.operator_password(home)
    if as_json:
        console.print_json(report.as_json())
    else:
        show(report)
    if password:
        console.show_login(password)
    if as_json:
        return
    console.out.print(
        f"\nTook {report.seconds:.0f} s. The same as JSON: {home.path / 'demo-report.json'}",
        highlight=False,
        soft_wrap=True,
    )
    console.out.print(
        f"The demo business's login and API key: {home.path / 'demo.json'}. Dagster and MLflow ask for the operator's"
        " password, shown at the first start; `rapport password` makes a new one.",
        highlight=False,
        soft_wrap=True,
    )
    console.out.print("The product is running; `make down` stops it.", highlight=False)


@contextmanager
def _bar(text: str) -> Iterator[Callable[[int, int], None]]:
    with console.counting(text) as progress:
        yield progress
