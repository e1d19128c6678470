"""How the commands speak: progress for people on standard error, figures on standard output, errors in one line."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

out = Console()
err = Console(stderr=True)


class Refused(Exception):
    """A command that cannot go on. Exit codes: 1 it failed, 2 the input is wrong, 3 the product is not ready."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


WAITING = "another run is writing the warehouse; waiting for it"
FAILED, BAD_INPUT, NOT_READY, INTERRUPTED = 1, 2, 3, 130


def escaped(text: str) -> str:
    return str(escape(text))


def print_json(figures: Any) -> None:
    """What JSON has no number for, NaN and infinities, is null."""
    sys.stdout.write(json.dumps(_finite(figures), indent=2, default=str, allow_nan=False) + "\n")


def _finite(figures: Any) -> Any:
    if isinstance(figures, dict):
        return {name: _finite(value) for name, value in figures.items()}
    if isinstance(figures, (list, tuple)):
        return [_finite(value) for value in figures]
    return None if isinstance(figures, float) and not math.isfinite(figures) else figures


def table(title: str | None, columns: list[str], rows: list[list[Any]]) -> None:
    """Prints rows; numbers stand right."""
    grid = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for index, column in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[index], (int, float)) or row[index] is None for row in rows)
        grid.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        grid.add_row(
            *["" if value is None else f"{value:,}" if isinstance(value, int) else str(value) for value in row]
        )
    out.print(grid)
    out.print()


@contextmanager
def working(message: str) -> Iterator[None]:
    """Shows that a step runs: a spinner on a terminal, one line elsewhere."""
    if err.is_terminal:
        with err.status(message):
            yield
    else:
        err.print(message, highlight=False)
        yield


@contextmanager
def steps() -> Iterator[Callable[[str, str], None]]:
    """Yields a listener for (step, what happened): a spinner with the step's name, or a line a step elsewhere."""
    if err.is_terminal:
        with err.status("starting") as status:

            def show(step: str, event: str) -> None:
                if event == "STEP_START":
                    status.update(step)
                else:
                    err.print(
                        f"  {step}: {'done' if event == 'STEP_SUCCESS' else '[red]failed[/red]'}", highlight=False
                    )

            yield show
    else:
        yield lambda step, event: err.print(f"  {step}", highlight=False) if event == "STEP_START" else None


@contextmanager
def counting(text: str) -> Iterator[Callable[[int, int], None]]:
    """Yields progress(done, total): a bar on a terminal, one line elsewhere."""
    if not err.is_terminal:
        err.print(f"  {text}", highlight=False)
        yield lambda done, total: None
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err, transient=True) as shown:
        task = shown.add_task(text, total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total or None)


def show_login(password: str) -> None:
    """On standard error: what a script reads from the command stays without it."""
    err.print(
        f"Login of the Dagster and MLflow pages: user operator, password {escaped(password)}\n"
        "It is not shown again; `rapport password` makes a new one.",
        style="yellow", highlight=False, soft_wrap=True,
    )  # fmt: skip


def json_option() -> Any:
    return typer.Option(False, "--json", help="Print the figures as JSON.")
