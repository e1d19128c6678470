"""Imports a history a business already has: everything is read and checked first, then loaded in chunks."""

from __future__ import annotations

import datetime as dt
import json
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import sqlalchemy as sa
from sqlalchemy.orm import Session

from serving.importing import targets
from serving.importing.consents import load_consents
from serving.importing.errors import ImportRefused, ImportRunning, RejectedRows
from serving.importing.load import Loaded, load
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

# Called with (what is being done, rows done, rows in all); all is 0 while it is not known.
Progress = Callable[[str, int, int], None]


@dataclass
class TableSummary:
    """What became of the rows a SELECT gave: read = loaded + changed + already_there + duplicates + rejected."""

    read: int = 0
    loaded: int = 0
    changed: int = 0
    already_there: int = 0
    duplicates: int = 0
    rejected: dict[str, int] = field(default_factory=dict)


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
    database = Database(database_url, pool_size=2)
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
            summaries = _count(connection, names)
            rejected = sum(sum(table.rejected.values()) for table in summaries.values())
            if strict and rejected:
                written = write_rejects(connection, names, rejects_dir) if rejects_dir else {}
                where = f"; see {', '.join(str(path) for path in written.values())}" if written else ""
                raise RejectedRows(f"{rejected:,} rows are rejected and nothing was loaded{where}")
            if not dry_run:
                _Loading(connection, database, tenant_id, source, phone_key, set(names), progress, summaries).run(
                    digest(mapping, values), inputs, now
                )
            written = write_rejects(connection, names, rejects_dir) if rejects_dir else {}
    finally:
        database.dispose()
    seconds = time.perf_counter() - started
    read = sum(table.read for table in summaries.values())
    paths = {name: str(path) for name, path in written.items()}
    return ImportSummary(summaries, round(seconds, 3), round(read / seconds, 1), dry_run, paths)


class _Loading:
    """The second half: valid rows of a checked import into the operational tables, with progress that survives."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, database: Database, tenant_id: uuid.UUID, source: str, phone_key: str,
        tables: set[str], progress: Progress, summaries: dict[str, TableSummary],
    ) -> None:  # fmt: skip
        self.connection, self.database, self.tenant_id, self.source = connection, database, tenant_id, source
        self.phone_key, self.tables, self.progress, self.summaries = phone_key, tables, progress, summaries
        self.done: dict[str, int] = {}
        self.total = sum(table.read - table.duplicates - sum(table.rejected.values()) for table in summaries.values())
        self.run_id: uuid.UUID | None = None

    def run(self, content: str, inputs: dict[str, Any] | None, now: dt.datetime) -> None:
        self._begin(content, inputs)
        try:
            self._tables()
        except BaseException:
            self._end("failed", None)
            raise
        self._end("completed", now)

    def _tables(self) -> None:
        source, tables = self.source, self.tables
        if "contacts" in tables:
            self._load("contacts", targets.contacts(source), "contacts")
            self._load("contacts", targets.contact_identities(source, self._aliased()), None)
        if tables & {"contacts", "consents"}:
            with self.database.tenant(self.tenant_id) as session:
                consents = load_consents(
                    self.connection,
                    session,
                    self.tenant_id,
                    source,
                    self.phone_key,
                    tables=tables,
                    aliased=self._aliased(),
                )
                self._committed(session, "consents", consents.new + consents.there)
            if "consents" in tables:
                rejected = _count(self.connection, ["consents"])["consents"].rejected
                self.summaries["consents"].rejected = rejected
                self._add("consents", consents)
        if "campaigns" in tables:
            self._load("campaigns", targets.campaigns(source), "campaigns")
        if tables & {"messages", "replies"}:
            self._load("conversations", targets.conversations(tables, self._aliased()), "conversations", counted=False)
        if "messages" in tables:
            self._load("messages", targets.messages(source, tables, self._aliased()), "messages")
        if "statuses" in tables:
            self._load("statuses", targets.statuses(self._aliased()), None, counted=True)
            self._advance()
        if "replies" in tables:
            self._load("replies", targets.reply_messages(source, self._aliased()), None)
            self._load("replies", targets.replies(self._aliased()), None, counted=True)
        if "orders" in tables:
            self._load("orders", targets.orders(source, self._aliased()), None, counted=True)
        if "conversions" in tables:
            self._load("conversions", targets.conversions(source, self._aliased()), None, counted=True)

    def _load(self, name: str, target: targets.Target, aliases: str | None, counted: bool | None = None) -> None:
        counted = aliases is not None if counted is None else counted
        loaded = load(
            self.connection, self.database, self.tenant_id, target,
            lambda session, table, rows: self._committed(session, table, rows if counted else 0),
        )  # fmt: skip
        if aliases and loaded.aliases:
            self.connection.executemany(
                "INSERT INTO aliases VALUES (?, ?, ?)", [(aliases, *pair) for pair in loaded.aliases]
            )
        if counted:
            self._add(name, loaded)

    def _advance(self) -> None:
        """Messages that only an earlier import brought take over the statuses that came now."""
        if (
            "messages" in self.tables
            and not self.connection.execute(
                "SELECT count(*) FROM valid_statuses WHERE message NOT IN (SELECT external_id FROM valid_messages)"
            ).fetchall()[0][0]
        ):
            return
        load(self.connection, self.database, self.tenant_id, targets.furthest(self._aliased()), lambda *_: None)

    def _aliased(self) -> set[str]:
        return {row[0] for row in self.connection.execute("SELECT DISTINCT name FROM aliases").fetchall()}

    def _add(self, name: str, loaded: Loaded) -> None:
        if name in self.summaries:
            summary = self.summaries[name]
            summary.loaded, summary.changed, summary.already_there = loaded.new, loaded.changed, loaded.there

    def _committed(self, session: Session, table: str, rows: int) -> None:
        self.done[table] = self.done.get(table, 0) + rows
        session.execute(
            sa.text("UPDATE import_runs SET counts = CAST(:counts AS jsonb) WHERE id = :id"),
            {"counts": json.dumps({"rows": self.done, "of": self.total}), "id": self.run_id},
        )
        self.progress(f"loading {table}", min(sum(self.done.values()), self.total), self.total)

    def _begin(self, content: str, inputs: dict[str, Any] | None) -> None:
        with self.database.tenant(self.tenant_id) as session:
            self.run_id = session.execute(
                sa.text("""INSERT INTO import_runs (tenant_id, digest, source) VALUES (CAST(:tenant AS uuid), :digest, :source)
                    ON CONFLICT (tenant_id, digest) DO UPDATE SET state = 'running', finished_at = NULL RETURNING id"""),
                {"tenant": self.tenant_id, "digest": content, "source": self.source},
            ).scalar_one()
            if inputs is not None:
                session.execute(
                    sa.text("""UPDATE tenants SET settings = settings || jsonb_build_object('model_inputs', CAST(:inputs AS jsonb)),
                        updated_at = now()"""),
                    {"inputs": json.dumps(inputs)},
                )

    def _end(self, state: str, finished_at: dt.datetime | None) -> None:
        counts = {
            "rows": self.done,
            "of": self.total,
            "tables": {name: asdict(t) for name, t in self.summaries.items()},
        }
        with self.database.tenant(self.tenant_id) as session:
            session.execute(
                sa.text("""UPDATE import_runs SET state = :state, finished_at = :finished, counts = CAST(:counts AS jsonb)
                    WHERE id = :id"""),
                {"state": state, "finished": finished_at, "counts": json.dumps(counts), "id": self.run_id},
            )


def _count(connection: duckdb.DuckDBPyConnection, names: list[str]) -> dict[str, TableSummary]:
    summaries = {}
    for name in names:
        reasons = connection.execute(
            f"SELECT reason, count(*) FROM rejected_{name} GROUP BY reason ORDER BY 2 DESC, 1"
        ).fetchall()
        read, duplicates = connection.execute(
            f"SELECT (SELECT count(*) FROM raw_{name}), (SELECT count(*) FROM repeated_{name} WHERE exact)"
        ).fetchall()[0]
        summaries[name] = TableSummary(read=read, duplicates=duplicates, rejected=dict(reasons))
    return summaries


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
            held = inputs.setdefault(entity, {}).setdefault(attribute, kind)
            found = True
            if held != kind:
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
