"""The mapping: a YAML file that says where a business's files are and how they become our tables."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from serving.importing.canonical import TABLES
from serving.importing.errors import ImportRefused

FORMATS = {".csv": "csv", ".tsv": "csv", ".jsonl": "json", ".ndjson": "json", ".json": "json", ".parquet": "parquet"}
NAME = r"^[A-Za-z_][A-Za-z0-9_]{0,62}$"
OURS = re.compile(r"(raw|cast|valid|rejected|repeated)_.*|aliases|phones|twice|unresolved|found|refused", re.IGNORECASE)
PLACEHOLDER = re.compile(r"\$\{([^}]*)\}")
LARGEST_MAPPING_BYTES = 1_000_000

AttributeType = Literal["number", "category", "set", "boolean"]


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(Part):
    """A file of the business's: CSV (every column is text), JSON lines or array, or Parquet."""

    file: str
    format: Literal["csv", "json", "parquet"] | None = None
    encoding: Literal["utf-8", "utf-16", "latin-1"] = "utf-8"
    delimiter: str = Field(default=",", min_length=1, max_length=1)

    @model_validator(mode="after")
    def _known_format(self) -> Source:
        if self.format is None and Path(self.file).suffix.lower() not in FORMATS:
            raise ValueError(f"say `format: csv | json | parquet`; the suffix of {self.file!r} tells none")
        return self

    @property
    def reads_as(self) -> str:
        return self.format or FORMATS[Path(self.file).suffix.lower()]

    @property
    def separator(self) -> str:
        return "\t" if Path(self.file).suffix.lower() == ".tsv" and self.delimiter == "," else self.delimiter


class TableMapping(Part):
    """One canonical table: a DuckDB SELECT over the sources, and the typed facts it gives beside our columns."""

    select: str = Field(min_length=1)
    attributes: dict[str, AttributeType] = {}
    phone: Literal["column", "synthetic"] = "column"


class HistoryMapping(Part):
    """`source` names where the history comes from; together with the tenant it makes the ids of what is loaded."""

    source: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,59}$")
    timezone: str = "UTC"
    default_region: str | None = Field(default=None, pattern="^[A-Z]{2}$")
    variables: dict[str, str | None] = {}
    sources: dict[str, Source] = Field(min_length=1)
    tables: dict[str, TableMapping] = Field(min_length=1)

    @field_validator("timezone")
    @classmethod
    def _existing_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (KeyError, ValueError, OSError) as error:
            raise ValueError(f"no time zone is called {name!r}") from error
        return name

    @field_validator("variables", "sources")
    @classmethod
    def _plain_names(cls, parts: dict[str, object]) -> dict[str, object]:
        for name in parts:
            if not re.match(NAME, name):
                raise ValueError(f"{name!r} must be a plain name of letters, digits and _")
            if OURS.fullmatch(name):
                raise ValueError(f"{name!r} is a name the import uses itself")
        return parts

    @field_validator("tables")
    @classmethod
    def _canonical(cls, tables: dict[str, TableMapping]) -> dict[str, TableMapping]:
        for name, table in tables.items():
            if name not in TABLES:
                raise ValueError(f"{name!r} is not one of {', '.join(TABLES)}")
            if table.attributes and not TABLES[name].attributes:
                raise ValueError(f"{name} takes no attributes; contacts and campaigns do")
            if table.phone == "synthetic" and name != "contacts":
                raise ValueError(f"{name} has no phone")
            for attribute in table.attributes:
                if not re.match(NAME, attribute):
                    raise ValueError(f"attribute {attribute!r} must be a plain name of letters, digits and _")
                if TABLES[name].column(attribute):
                    raise ValueError(f"attribute {attribute!r} has the name of a column of {name}")
        return tables


class MappingFile:
    """A mapping with the place of its keys, so that later errors can name a line too."""

    def __init__(self, path: Path, text: str, model: HistoryMapping, lines: dict[tuple[str, ...], int]) -> None:
        self.path, self.text, self.model, self._lines = path, text, model, lines

    def error(self, key: tuple[str, ...], reason: str) -> ImportRefused:
        return ImportRefused(f"{self.path.name}:{_nearest(self._lines, key)}: {'.'.join(key)}: {reason}")


def read_mapping(path: Path) -> MappingFile:
    """The mapping in `path`. Raises: ImportRefused, naming the file, the key and its line."""
    try:
        if path.stat().st_size > LARGEST_MAPPING_BYTES:
            raise ImportRefused(f"{path.name}: larger than {LARGEST_MAPPING_BYTES:,} bytes; is it a data file?")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ImportRefused(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ImportRefused(f"{path.name}: is not UTF-8 text") from error
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        lines = dict(_places(root, (), path)) if root is not None else {}
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise ImportRefused(f"{path.name}{line}: not YAML: {getattr(error, 'problem', None) or error}") from error
    if not isinstance(content, dict):
        raise ImportRefused(f"{path.name}:1: a mapping of keys is expected")
    try:
        model = HistoryMapping.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        key = tuple(str(part) for part in first["loc"])
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        reason = first["msg"].removeprefix("Value error, ")
        raise ImportRefused(f"{path.name}:{_nearest(lines, key)}: {'.'.join(key)}: {reason}{more}") from error
    return MappingFile(path, text, model, lines)


def resolve_variables(mapping: MappingFile, given: Mapping[str, str]) -> dict[str, str]:
    """Every declared variable with its value: the given one, else the mapping's default."""
    declared = mapping.model.variables
    for name in given:
        if name not in declared:
            raise ImportRefused(f"--var {name}: {mapping.path.name} declares no such variable")
    values = {name: given.get(name, default) for name, default in declared.items()}
    for name, value in values.items():
        if value is None:
            raise mapping.error(("variables", name), f"has no value; give --var {name}=...")
    return {name: value for name, value in values.items() if value is not None}


def file_of(mapping: MappingFile, name: str, variables: Mapping[str, str]) -> Path:
    """The absolute path of a source; a relative one starts at the mapping's folder. Raises: ImportRefused."""
    key = ("sources", name, "file")

    def value(match: re.Match[str]) -> str:
        if match[1] not in variables:
            raise mapping.error(key, f"no variable is called {match[1]!r}")
        return variables[match[1]]

    path = (mapping.path.parent / PLACEHOLDER.sub(value, mapping.model.sources[name].file)).resolve()
    if not path.is_file():
        raise mapping.error(key, f"no such file: {path}")
    return path


def _places(node: yaml.Node, key: tuple[str, ...], path: Path) -> Iterator[tuple[tuple[str, ...], int]]:
    yield key, node.start_mark.line + 1
    if not isinstance(node, yaml.MappingNode):
        return
    seen: set[str] = set()
    for name, value in node.value:
        word = str(name.value)
        if word in seen:
            raise ImportRefused(f"{path.name}:{name.start_mark.line + 1}: {'.'.join((*key, word))}: is there twice")
        seen.add(word)
        yield from _places(value, (*key, word), path)
        yield (*key, word), name.start_mark.line + 1


def _nearest(lines: dict[tuple[str, ...], int], key: tuple[str, ...]) -> int:
    while key and key not in lines:
        key = key[:-1]
    return lines.get(key, 1)
