"""The second half of an import: the valid rows of every table into the operational tables, in order of reference."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import duckdb
import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.orm import Session

from serving.importing import targets
from serving.importing.consents import load_consents
from serving.importing.load import Loaded, load
from serving.kit.database import Database

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


class Loading:
    """The second half: valid rows of a checked import into the operational tables, with progress that survives."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, database: Database, tenant_id: uuid.UUID, source: str,
        phone_key: str, tables: set[str], progress: Progress, summaries: dict[str, TableSummary],
    ) -> None:  # fmt: skip
        self.connection, self.database, self.tenant_id, self.source = connection, database, tenant_id, source
        self.phone_key, self.tables, self.progress, self.summaries = phone_key, tables, progress, summaries
        self.done: dict[str, int] = {}
        self.total = sum(table.read - table.duplicates - sum(table.rejected.values()) for table in summaries.values())
        self.run_id: uuid.UUID | None = None
        self.stopped = False

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
            self._alias("contacts", self._load("contacts", targets.contacts(source)), self.connection)
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
                rejected = count_rows(self.connection, ["consents"])["consents"].rejected
                self.summaries["consents"].rejected = rejected
                self._add("consents", consents)
        if "campaigns" in tables:
            self._alias("campaigns", self._load("campaigns", targets.campaigns(source)), self.connection)
        aliased = self._aliased()
        # Orders and redemptions refer to people and campaigns, not to messages: the two lanes keep two cores busy.
        with ThreadPoolExecutor(max_workers=2) as pool:
            lanes = [pool.submit(lane, aliased) for lane in (self._conversation_lane, self._order_lane)]
            try:
                wait(lanes, return_when=FIRST_EXCEPTION)
            finally:
                self.stopped = not all(lane.done() and lane.exception() is None for lane in lanes)
        # The lane that was told to stop is not the one that says why.
        for lane in sorted(lanes, key=lambda lane: isinstance(lane.exception(), InterruptedError)):
            lane.result()

    def _conversation_lane(self, aliased: set[str]) -> None:
        source, tables = self.source, self.tables
        with self._cursor() as cursor:
            if tables & {"messages", "replies"}:
                held = self._load("conversations", targets.conversations(tables, aliased), counted=False, cursor=cursor)
                self._alias("conversations", held, cursor)
                aliased = aliased | ({"conversations"} if held.aliases else set())
            if "messages" in tables:
                held = self._load("messages", targets.messages(source, tables, aliased), cursor=cursor)
                self._alias("messages", held, cursor)
                aliased = aliased | ({"messages"} if held.aliases else set())
            if "statuses" in tables:
                self._load("statuses", targets.statuses(aliased), cursor=cursor)
                if self._earlier_messages(cursor):
                    load(cursor, self.database, self.tenant_id, targets.furthest(aliased), lambda *_: None)
            if "replies" in tables:
                self._load("replies", targets.reply_messages(source, aliased), counted=False, cursor=cursor)
                self._load("replies", targets.replies(aliased), cursor=cursor)

    def _order_lane(self, aliased: set[str]) -> None:
        with self._cursor() as cursor:
            if "contacts" in self.tables:
                self._load("contacts", targets.contact_identities(self.source, aliased), counted=False, cursor=cursor)
            if "orders" in self.tables:
                self._load("orders", targets.orders(self.source, aliased), cursor=cursor)
            if "conversions" in self.tables:
                self._load("conversions", targets.conversions(self.source, aliased), cursor=cursor)

    @contextmanager
    def _cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection of a lane's own; variables do not come along by themselves."""
        with self.connection.cursor() as cursor:
            cursor.execute("SET VARIABLE import_namespace = $name", {"name": f"{self.tenant_id}/{self.source}"})
            yield cursor

    def _load(
        self,
        name: str,
        target: targets.Target,
        *,
        counted: bool = True,
        cursor: duckdb.DuckDBPyConnection | None = None,
    ) -> Loaded:
        loaded = load(
            cursor or self.connection, self.database, self.tenant_id, target,
            lambda session, _table, rows: self._committed(session, name, rows if counted else 0),
        )  # fmt: skip
        if counted:
            self._add(name, loaded)
        return loaded

    def _alias(self, name: str, loaded: Loaded, connection: duckdb.DuckDBPyConnection) -> None:
        """Rows that were found under another id are referred to by that id from now on."""
        if loaded.aliases:
            derived, actual = zip(*loaded.aliases, strict=True)
            connection.register("found_aliases", pa.table({"derived": derived, "actual": actual}))
            connection.execute(f"INSERT INTO aliases SELECT '{name}', derived, actual FROM found_aliases")
            connection.unregister("found_aliases")

    def _earlier_messages(self, connection: duckdb.DuckDBPyConnection) -> bool:
        """Whether statuses came for messages that only an earlier import brought."""
        if "messages" not in self.tables:
            return True
        earlier = "SELECT count(*) FROM valid_statuses WHERE message NOT IN (SELECT _key FROM valid_messages)"
        return bool(connection.execute(earlier).fetchall()[0][0])

    def _aliased(self) -> set[str]:
        return {row[0] for row in self.connection.execute("SELECT DISTINCT name FROM aliases").fetchall()}

    def _add(self, name: str, loaded: Loaded) -> None:
        if name in self.summaries:
            summary = self.summaries[name]
            summary.loaded, summary.changed, summary.already_there = loaded.new, loaded.changed, loaded.there

    def _committed(self, session: Session, table: str, rows: int) -> None:
        if self.stopped:
            raise InterruptedError("the import was stopped")
        self.done[table] = self.done.get(table, 0) + rows
        session.execute(
            sa.text("UPDATE import_runs SET counts = CAST(:counts AS jsonb) WHERE id = :id"),
            {"counts": json.dumps({"rows": self.done, "of": self.total}), "id": self.run_id},
        )
        self.progress(f"loading {table}", min(sum(self.done.values()), self.total), self.total)

    def _begin(self, content: str, inputs: dict[str, Any] | None) -> None:
        with self.database.tenant(self.tenant_id) as session:
            self.run_id = session.execute(
                sa.text("""INSERT INTO import_runs (tenant_id, digest, source)
                    VALUES (CAST(:tenant AS uuid), :digest, :source)
                    ON CONFLICT (tenant_id, digest) DO UPDATE SET state = 'running', finished_at = NULL
                    RETURNING id"""),
                {"tenant": self.tenant_id, "digest": content, "source": self.source},
            ).scalar_one()
            if inputs is not None:
                session.execute(
                    sa.text("""UPDATE tenants SET updated_at = now(),
                        settings = settings || jsonb_build_object('model_inputs', CAST(:inputs AS jsonb))"""),
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
                sa.text("""UPDATE import_runs SET state = :state, finished_at = :finished,
                    counts = CAST(:counts AS jsonb) WHERE id = :id"""),
                {"state": state, "finished": finished_at, "counts": json.dumps(counts), "id": self.run_id},
            )


def count_rows(connection: duckdb.DuckDBPyConnection, names: list[str]) -> dict[str, TableSummary]:
    """What reading and checking made of each table."""
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
