"""The simulator's memory: one SQLite file, so that a killed process loses no event it owes."""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gateway.simulator.history import TrueSend
from gateway.simulator.wire import WireEvent

_SCHEMA = """
create table if not exists meta (key text primary key, value text not null);
create table if not exists history_acks (body integer primary key);
create table if not exists live_sends (
    provider_id text primary key, person integer not null, sent_at real not null, p_read real, p_order real
);
create table if not exists facts (person integer not null, kind text not null, at real not null);
create table if not exists outbox (id integer primary key, due_at real not null, event text not null);
create index if not exists outbox_due on outbox (due_at);
create table if not exists campaigns (match text not null, value text not null, attributes text not null,
    primary key (match, value));
create table if not exists templates (id integer primary key, name text not null, language text not null,
    category text not null, components text not null, unique (name, language));
"""


class Fact(NamedTuple):
    """What a live exchange did: `kind` is send, marketing, read, inbound, order or stop; `at` is epoch seconds."""

    person: int
    kind: str
    at: float


class StateMismatch(Exception):
    """The state directory belongs to another seed, number or count of people."""


class Store:
    """Reads and writes from one thread. Writes join an open transaction; nothing is durable before `commit`."""

    def __init__(self, state_dir: Path, identity: dict[str, Any]) -> None:
        state_dir.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(state_dir / "simulator.sqlite3", check_same_thread=False)
        # WAL with synchronous=NORMAL survives a killed process, which is what is promised; not a power cut.
        self._db.execute("pragma journal_mode=wal")
        self._db.execute("pragma synchronous=normal")
        self._db.executescript(_SCHEMA)
        found = self.meta("identity")
        if found is None:
            self.set_meta("identity", identity)
            self.commit()
        elif found != identity:
            raise StateMismatch(f"state directory was made with {found}, asked for {identity}")

    def commit(self) -> None:
        self._db.commit()

    def close(self) -> None:
        self._db.commit()
        self._db.close()

    def meta(self, key: str) -> Any:
        """The value stored under `key`, or None."""
        row = self._db.execute("select value from meta where key = ?", (key,)).fetchone()
        return json.loads(row[0]) if row else None

    def set_meta(self, key: str, value: Any) -> None:
        self._db.execute("insert or replace into meta values (?, ?)", (key, json.dumps(value)))

    def acknowledge_history(self, body: int) -> None:
        self._db.execute("insert or ignore into history_acks values (?)", (body,))

    def acknowledged_history(self) -> set[int]:
        return {row[0] for row in self._db.execute("select body from history_acks")}

    def add_live_send(self, send: TrueSend) -> None:
        self._db.execute("insert into live_sends values (?, ?, ?, ?, ?)", (
            send.provider_id, send.person, send.sent_at, send.p_read, send.p_order,
        ))  # fmt: skip

    def live_sends(self) -> Iterator[TrueSend]:
        """In the order they were sent."""
        for row in self._db.execute(
            "select provider_id, person, sent_at, p_read, p_order from live_sends order by sent_at"
        ):
            yield TrueSend(*row)

    def add_facts(self, facts: Iterable[Fact]) -> None:
        self._db.executemany("insert into facts values (?, ?, ?)", facts)

    def facts(self) -> Iterator[Fact]:
        for row in self._db.execute("select person, kind, at from facts order by rowid"):
            yield Fact(*row)

    def owe(self, events: Iterable[WireEvent]) -> None:
        """Keeps events until `settle`; each is due at its own time."""
        self._db.executemany(
            "insert into outbox (due_at, event) values (?, ?)", ((event.at, json.dumps(event)) for event in events)
        )

    def due(self, now: float, limit: int) -> list[tuple[int, WireEvent]]:
        """The oldest due events with the ids to settle them by."""
        rows = self._db.execute(
            "select id, event from outbox where due_at <= ? order by due_at, id limit ?", (now, limit)
        )
        return [(row[0], WireEvent(*json.loads(row[1]))) for row in rows]

    def settle(self, ids: Sequence[int]) -> None:
        self._db.executemany("delete from outbox where id = ?", ((one,) for one in ids))

    def owed_count(self) -> int:
        return int(self._db.execute("select count(*) from outbox").fetchone()[0])

    def live_send_count(self) -> int:
        return int(self._db.execute("select count(*) from live_sends").fetchone()[0])

    def set_campaign(self, match: str, value: str, attributes: dict[str, Any]) -> None:
        self._db.execute("insert or replace into campaigns values (?, ?, ?)", (match, value, json.dumps(attributes)))

    def campaigns(self) -> list[tuple[str, str, dict[str, Any]]]:
        rows = self._db.execute("select match, value, attributes from campaigns")
        return [(match, value, json.loads(attributes)) for match, value, attributes in rows]

    def set_template(self, name: str, language: str, category: str, components: list[Any]) -> int:
        """The template's id, kept when it is registered again."""
        self._db.execute(
            "insert into templates (name, language, category, components) values (?, ?, ?, ?) "
            "on conflict (name, language) do update set category = excluded.category, components = excluded.components",
            (name, language, category, json.dumps(components)),
        )
        row = self._db.execute("select id from templates where name = ? and language = ?", (name, language)).fetchone()
        return int(row[0])

    def templates(self) -> list[dict[str, Any]]:
        rows = self._db.execute("select id, name, language, category, components from templates order by id")
        return [
            {
                "id": str(row[0]),
                "name": row[1],
                "language": row[2],
                "category": row[3],
                "components": json.loads(row[4]),
            }
            for row in rows
        ]
