"""Imports a history a business already has: everything is read and checked first, then loaded in chunks."""

from __future__ import annotations

import datetime as dt
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from serving.importing.errors import ImportRefused, ImportRunning, RejectedRows
from serving.importing.loading import Loading, Progress, TableSummary, count_rows
from serving.importing.look_up import look_up
from serving.importing.mapping import MappingFile, read_mapping, resolve_variables
from serving.importing.rejects import write_rejects
from serving.importing.sources import MEMORY_LIMIT, digest, open_sources
from serving.importing.validate import validate
from serving.kit.database import Database

__all__ = [
    "ImportRefused",
    "ImportRunning",
    "ImportSummary",
    "Progress",
    "RejectedRows",
    "TableSummary",
    "import_history",
]


@dataclass
class ImportSummary:
    """`rows_per_second` is over all that was read, from opening the files to the last commit."""

    tables: dict[str, TableSummary]
    seconds: float
    rows_per_second: float
    dry_run: bool
    rejects: dict[str, str] = field(default_factory=dict)

    @property
    def rejected(self) -> int:
        return sum(sum(table.rejected.values()) for table in self.tables.values())

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def import_history(
    database_url: str,
    tenant_id: uuid.UUID,
    mapping_path: Path,
    now: dt.datetime,
    progress: Progress = lambda _step, _done, _all: None,
    rejects_dir: Path | None = None,
    *,
    phone_key: str,
    variables: Mapping[str, str] | None = None,
    dry_run: bool = False,
    strict: bool = False,
    memory_limit: str = MEMORY_LIMIT,
) -> ImportSummary:
    """Imports the history `mapping_path` describes into one tenant; `database_url` is of the role app or worker.

    `strict`: rejected rows stop the import before anything is written. `dry_run`: nothing is written but rejects.
    Raises: ImportRefused (nothing written), RejectedRows (strict), ImportRunning.
    """
    started = time.perf_counter()
    mapping = read_mapping(mapping_path)
    values = resolve_variables(mapping, variables or {})
    database = Database(database_url, pool_size=3)
    source = mapping.model.source
    namespace = f"{tenant_id}/{source}"
    try:
        with _alone(database, tenant_id, namespace), open_sources(
            mapping, values, zone=mapping.model.timezone, now=now, namespace=namespace, memory_limit=memory_limit
        ) as connection:  # fmt: skip
            inputs = _model_inputs(database, tenant_id, mapping)
            progress("reading and checking", 0, 0)
            validate(
                connection, mapping, namespace, lambda table, ids: look_up(database, tenant_id, source, table, ids)
            )
            names = [name for name in mapping.model.tables]
            summaries = count_rows(connection, names)
            rejected = sum(sum(table.rejected.values()) for table in summaries.values())
            if strict and rejected:
                written = write_rejects(connection, names, rejects_dir) if rejects_dir else {}
                where = f"; see {', '.join(str(path) for path in written.values())}" if written else ""
                raise RejectedRows(f"{rejected:,} rows are rejected and nothing was loaded{where}")
            if not dry_run:
                Loading(connection, database, tenant_id, source, phone_key, set(names), progress, summaries).run(
                    digest(mapping, values), inputs, now
                )
            written = write_rejects(connection, names, rejects_dir) if rejects_dir else {}
    finally:
        database.dispose()
    seconds = time.perf_counter() - started
    read = sum(table.read for table in summaries.values())
    paths = {name: str(path) for name, path in written.items()}
    return ImportSummary(summaries, round(seconds, 3), round(read / seconds, 1), dry_run, paths)


def _model_inputs(database: Database, tenant_id: uuid.UUID, mapping: MappingFile) -> dict[str, Any] | None:
    """The tenant's typed facts with those of the mapping, None when it declares none. Raises: ImportRefused."""
    with database.tenant(tenant_id) as session:
        settings = session.execute(sa.text("SELECT settings FROM tenants")).scalar_one_or_none()
    if settings is None:
        raise ImportRefused(f"no tenant {tenant_id}")
    inputs: dict[str, dict[str, str]] = settings.get("model_inputs", {})
    declared = {"contact": "contacts", "campaign": "campaigns"}
    found = False
    for entity, name in declared.items():
        for attribute, kind in mapping.model.tables[name].attributes.items() if name in mapping.model.tables else ():
            # A model takes true and false as the two words of a category.
            typed = "category" if kind == "boolean" else kind
            held = inputs.setdefault(entity, {}).setdefault(attribute, typed)
            found = True
            if held != typed:
                reason = f"is declared {kind} here and {held} in the tenant's model_inputs; they must agree"
                raise mapping.error(("tables", name, "attributes", attribute), reason)
    return inputs if found else None


@contextmanager
def _alone(database: Database, tenant_id: uuid.UUID, namespace: str) -> Iterator[None]:
    """Holds the right to import this source; PostgreSQL gives it back when the process dies."""
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        key = {"key": f"import:{namespace}"}
        if not connection.execute(sa.text("SELECT pg_try_advisory_lock(hashtextextended(:key, 0))"), key).scalar_one():
            raise ImportRunning("this history is being imported by another process")
        try:
            yield
        finally:
            connection.execute(sa.text("SELECT pg_advisory_unlock(hashtextextended(:key, 0))"), key)
