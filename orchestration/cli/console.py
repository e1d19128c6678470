"""How the commands speak: progress for people on standard error, figures on standard output, errors in one line."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

out = Console()
err = Console(stderr=True)


class Refused(Exception):
    """A command that cannot go on; `code` is its exit code: 1 it failed, 2 the input is wrong, 3 the product is not ready."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


FAILED, BAD_INPUT, NOT_READY, INTERRUPTED = 1, 2, 3, 130


def escaped(text: str) -> str:
    return str(escape(text))


def print_json(figures: Any) -> None:
    sys.stdout.write(json.dumps(figures, indent=2, default=str) + "\n")


def table(title: str | None, columns: list[str], rows: list[list[Any]]) -> None:
    """Prints rows; numbers stand right."""
    grid = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for index, column in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[index], (int, float)) or row[index] is None for row in rows)
        grid.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        grid.add_row(*["" if value is None else f"{value:,}" if isinstance(value, int) else str(value) for value in row])
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


def json_option() -> Any:
    return typer.Option(False, "--json", help="Print the figures as JSON.")
