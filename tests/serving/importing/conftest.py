"""A small history on disk, and ways to import it and to look at what came of it."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from serving.importing.service import ImportSummary, import_history

NOW = dt.datetime(2026, 7, 1, tzinfo=dt.UTC)
PHONE_KEY = "a key for tests"

MAPPING = """\
source: shop
default_region: DE
timezone: Europe/Berlin
sources:
  people: {file: people.csv}
  sends: {file: sends.jsonl}
tables:
  contacts:
    attributes: {age: number, city: category}
    select: SELECT id AS external_id, phone, name, joined AS known_at, age, city FROM people
  campaigns:
    attributes: {reward: number}
    select: SELECT 'spring' AS external_id, 'Spring' AS name, '2026-03-01' AS started_at, 5 AS reward
  messages:
    select: SELECT id AS external_id, person AS contact, 'spring' AS campaign, sent AS occurred_at FROM sends
  statuses:
    select: SELECT id AS message, 'read' AS status, read AS occurred_at FROM sends WHERE read IS NOT NULL
  replies:
    select: |
      SELECT id AS external_id, person AS contact, replied AS occurred_at, id AS in_reply_to FROM sends
      WHERE replied IS NOT NULL
  orders:
    select: SELECT person AS contact, sent AS occurred_at, 1250 AS total_cents FROM sends
"""
PEOPLE = """\
id,phone,name,joined,age,city
007,+49 1512 3456789,Anna,2026-01-05 10:00:00,34,Bonn
008,0151 23456780,Ben,2026-01-06T10:00:00Z,,Köln
009,,Cleo,2026-01-07,51,
"""
SENDS = """\
{"id":"m1","person":"007","sent":"2026-03-01 09:00:00","read":"2026-03-01 09:05:00","replied":"2026-03-01 09:06:00"}
{"id":"m2","person":"008","sent":"2026-03-01 09:00:00","read":null,"replied":null}
{"id":"m3","person":"009","sent":"2026-03-01T09:00:00+01:00","read":"2026-03-02T09:00:00Z","replied":null}
"""


@dataclass
class History:
    """The folder of a mapping and its files; tests change the files."""

    folder: Path

    def write(self, name: str, content: str | bytes) -> None:
        data = content if isinstance(content, bytes) else content.encode()
        (self.folder / name).write_bytes(data)

    def change(self, name: str, old: str, new: str) -> None:
        text = (self.folder / name).read_text()
        assert old in text
        self.write(name, text.replace(old, new))

    @property
    def mapping(self) -> Path:
        return self.folder / "mapping.yaml"

    @property
    def rejects(self) -> Path:
        return self.folder / "rejects"


@pytest.fixture
def history(tmp_path: Path) -> History:
    history = History(tmp_path)
    for name, content in (("mapping.yaml", MAPPING), ("people.csv", PEOPLE), ("sends.jsonl", SENDS)):
        history.write(name, content)
    return history


@pytest.fixture
def tenant(database) -> uuid.UUID:
    return database.add_tenant()


@pytest.fixture
def run(database, history, tenant) -> Callable[..., ImportSummary]:
    def run(**options: object) -> ImportSummary:
        given = {"rejects_dir": history.rejects, "phone_key": PHONE_KEY} | options
        return import_history(database.app, given.pop("tenant", tenant), history.mapping, NOW, **given)

    return run


@pytest.fixture
def rows(database, tenant) -> Callable[..., list[tuple]]:
    """What a query finds, asked as the superuser; %(tenant)s is the tenant."""

    def rows(query: str, **values: object) -> list[tuple]:
        with psycopg.connect(database.admin) as connection:
            return connection.execute(query, {"tenant": tenant} | values).fetchall()

    return rows
