"""docs/how-to/import-history.md lists the columns that the code accepts."""

from __future__ import annotations

import re
from pathlib import Path

from serving.importing.canonical import TABLES

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "import-history.md"


def documented() -> dict[str, dict[str, tuple[str, bool]]]:
    """(type, required) by column, by table, as the page says."""
    sections = re.split(r"^### (\w+)$", PAGE.read_text(), flags=re.MULTILINE)[1:]
    tables = {}
    for name, text in zip(sections[::2], sections[1::2], strict=True):
        cells = re.findall(r"^\| (\w+) \| (\w+) \| (yes)? ?\|", text, flags=re.MULTILINE)
        tables[name] = {column: (kind, required == "yes") for column, kind, required in cells if kind != "type"}
    return tables


def test_every_column_is_documented_with_its_type():
    accepted = {
        name: {
            column.name: (
                "word" if isinstance(column.kind, tuple) else "ref" if column.refers_to else column.kind,
                column.required,
            )
            for column in table.columns
        }
        for name, table in TABLES.items()
    }
    assert documented() == accepted


def test_every_word_is_documented():
    page = PAGE.read_text()
    words = {
        word
        for table in TABLES.values()
        for column in table.columns
        if isinstance(column.kind, tuple)
        for word in column.kind
    }
    assert {word for word in words if f"`{word}`" not in page} == set()
