"""The business's files as DuckDB views, in a memory-limited database that can read these files and nothing else."""

from __future__ import annotations

import datetime as dt
import hashlib
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import duckdb

from serving.importing.errors import ImportRefused
from serving.importing.mapping import MappingFile, Source, file_of

MEMORY_LIMIT = "1GB"
LONGEST_LINE_BYTES = 2_097_152
LARGEST_OBJECT_BYTES = 16_777_216
BYTE_ORDER_MARKS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}


@contextmanager
def open_sources(
    mapping: MappingFile, variables: Mapping[str, str], *, zone: str, now: dt.datetime, namespace: str,
    memory_limit: str = MEMORY_LIMIT,
) -> Iterator[duckdb.DuckDBPyConnection]:  # fmt: skip
    """A connection in which every source is a view and every variable is there for `getvariable('name')`; besides them
    `mapping_zone`, `import_now` and `import_namespace`, which the checks read.

    Raises: ImportRefused when a file is missing, wrongly encoded or not of its format.
    """
    with tempfile.TemporaryDirectory(prefix="rapport-import-") as spill, duckdb.connect() as connection:
        connection.execute(f"SET memory_limit = '{memory_limit}'")
        connection.execute(f"SET temp_directory = {_text(spill)}")
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET enable_progress_bar = false")
        files = {name: file_of(mapping, name, variables) for name in mapping.model.sources}
        for name, value in variables.items():
            connection.execute(f"SET VARIABLE {name} = {_text(value)}")
        connection.execute(f"SET VARIABLE mapping_zone = {_text(zone)}")
        connection.execute(f"SET VARIABLE import_now = TIMESTAMPTZ {_text(now.isoformat())}")
        connection.execute(f"SET VARIABLE import_namespace = {_text(namespace)}")
        for name, path in files.items():
            _refuse_unnamed_encoding(mapping, name, path)
            try:
                connection.execute(
                    f'CREATE VIEW "{name}" AS SELECT * FROM {_reader(mapping.model.sources[name], path)}'
                )
            except duckdb.Error as error:
                raise mapping.error(("sources", name), f"{path.name}: {reason_of(error)}") from error
        # From here on the mapping's own SQL runs: it sees the files it named and no others, and cannot undo that.
        connection.execute(f"SET allowed_paths = [{', '.join(_text(str(path)) for path in files.values())}]")
        connection.execute(f"SET allowed_directories = [{_text(spill)}]")
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        yield connection


def digest(mapping: MappingFile, variables: Mapping[str, str]) -> str:
    """SHA-256 (hex) over the mapping's text, the variables and the content of every file."""
    total = hashlib.sha256(mapping.text.encode())
    for name, value in sorted(variables.items()):
        total.update(f"\x1f{name}={value}".encode())
    for name in sorted(mapping.model.sources):
        with file_of(mapping, name, variables).open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def reason_of(error: duckdb.Error) -> str:
    """What DuckDB says, in a line, without the content of the row it quotes."""
    said = [line.strip() for line in str(error).splitlines() if line.strip()]
    kept = [line[:240] for line in said if not line.startswith(("Original Line:", "Possible", "*", "^", "LINE "))]
    text = str(error)
    for known in ("Maximum line size", "Invalid unicode", "Expected Number of Columns", "maximum_object_size"):
        found = next((line[:240] for line in said if known in line), None)
        if found and found not in kept[:1]:
            return f"{kept[0]}: {found}" if kept else found
    return kept[0] if kept else text[:240]


def _reader(source: Source, path: Path) -> str:
    if source.reads_as == "parquet":
        return f"read_parquet({_text(str(path))})"
    if source.reads_as == "json":
        # Times and dates stay text, so that one with no zone is read in the mapping's zone like everywhere else.
        return (
            f"read_json({_text(str(path))}, format = 'auto', sample_size = -1, dateformat = '~', timestampformat = '~',"
            f" maximum_object_size = {LARGEST_OBJECT_BYTES})"
        )
    return (
        f"read_csv({_text(str(path))}, all_varchar = true, header = true, delim = {_text(source.separator)},"
        f" quote = '\"', escape = '\"', encoding = '{source.encoding}', max_line_size = {LONGEST_LINE_BYTES})"
    )


def _refuse_unnamed_encoding(mapping: MappingFile, name: str, path: Path) -> None:
    source = mapping.model.sources[name]
    with path.open("rb") as file:
        start = file.read(4)
    found = BYTE_ORDER_MARKS.get(start[:2])
    if source.reads_as == "parquet" and start != b"PAR1":
        raise mapping.error(("sources", name), f"{path.name} is not a Parquet file")
    if source.reads_as != "parquet" and found and source.encoding != "utf-16":
        hint = "say `encoding: utf-16`" if source.reads_as == "csv" else "save it as UTF-8"
        raise mapping.error(("sources", name), f"{path.name} is {found}, not {source.encoding.upper()}; {hint}")
    if not start:
        raise mapping.error(("sources", name), f"{path.name} is empty")


def _text(value: str) -> str:
    if "\x00" in value:
        raise ImportRefused("a path or variable holds a NUL character")
    return "'" + value.replace("'", "''") + "'"
