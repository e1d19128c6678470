"""Erased people leave the files themselves, not only the tables in them."""

from __future__ import annotations

import uuid
from pathlib import Path

import duckdb
import pytest
import redis

from feature_store.forgetting import forget_in_file, rewrite, rewrite_log
from feature_store.ingest_raw import open_raw
from feature_store.set_aside import forget_deleted
from feature_store.warehouse import DuckDBWarehouse

SAID = "a teapot that only one person has"
GONE, KEPT, MESSAGE = (str(uuid.UUID(int=number)) for number in (1, 2, 3))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "a warehouse.duckdb"
    with duckdb.connect(str(file)) as connection:
        connection.execute(
            "CREATE SCHEMA marts; CREATE SCHEMA staging; CREATE SCHEMA intermediate;"
            "CREATE TABLE marts.people (contact_id text PRIMARY KEY, said text NOT NULL DEFAULT 'nothing');"
            "CREATE TABLE staging.items (item_id text, message_id text, said text);"
            "CREATE TABLE intermediate.int_contacts__changed (contact_id text);"
            "CREATE VIEW marts.words AS SELECT said FROM marts.people"
        )
        connection.execute("INSERT INTO intermediate.int_contacts__changed VALUES ($1);", [GONE])
        connection.executemany("INSERT INTO marts.people VALUES ($1, $2)", [[GONE, SAID], [KEPT, "other words"]])
        connection.execute(
            "INSERT INTO staging.items VALUES ('1', $1, $2), ('2', $3, 'other words')", [MESSAGE, SAID, KEPT]
        )
        connection.execute("CHECKPOINT")
    return file


def rows(file: Path, table: str) -> list[tuple[str, ...]]:
    with duckdb.connect(str(file), read_only=True) as connection:
        return connection.execute(f"FROM {table}").fetchall()


class TestForgetInFile:
    def test_takes_out_every_row_that_names_an_id_and_what_it_said(self, file):
        assert SAID.encode() in file.read_bytes()
        assert forget_in_file(file, [GONE, MESSAGE]) == 2
        assert rows(file, "marts.people") == [(KEPT, "other words")]
        assert rows(file, "staging.items") == [("2", KEPT, "other words")]
        assert rows(file, "marts.words") == [("other words",)]
        assert SAID.encode() not in file.read_bytes()
        assert sorted(one.name for one in file.parent.iterdir()) == [file.name]

    def test_leaves_alone_what_steers_the_next_build(self, file):
        forget_in_file(file, [GONE])
        assert rows(file, "intermediate.int_contacts__changed") == [(GONE,)]

    def test_keeps_defaults_and_keys(self, file):
        forget_in_file(file, [GONE])
        with duckdb.connect(str(file)) as connection:
            connection.execute("INSERT INTO marts.people (contact_id) VALUES ('new')")
            with pytest.raises(duckdb.ConstraintException):
                connection.execute("INSERT INTO marts.people VALUES ($1, 'again')", [KEPT])
        assert ("new", "nothing") in rows(file, "marts.people")

    def test_who_reads_meanwhile_reads_on(self, file):
        with duckdb.connect(str(file), read_only=True) as reader:
            forget_in_file(file, [GONE])
            assert reader.execute("SELECT count(*) FROM marts.people").fetchall() == [(2,)]

    def test_refuses_what_is_no_id(self, file):
        with pytest.raises(ValueError, match="badly formed"):
            forget_in_file(file, ["'); DROP TABLE marts.people; --"])
        assert len(rows(file, "marts.people")) == 2

    def test_of_no_file_is_nothing(self, tmp_path):
        assert forget_in_file(tmp_path / "none.duckdb", [GONE]) == 0
        rewrite(tmp_path / "none.duckdb")
        assert list(tmp_path.iterdir()) == []


class TestRewrite:
    def test_leaves_nothing_of_what_was_deleted_before(self, file):
        with duckdb.connect(str(file)) as connection:
            connection.execute("DELETE FROM marts.people WHERE contact_id = $1", [GONE])
            connection.execute("DELETE FROM staging.items WHERE message_id = $1", [MESSAGE])
            connection.execute("CHECKPOINT")
        rewrite(file)
        assert SAID.encode() not in file.read_bytes()
        assert rows(file, "marts.people") == [(KEPT, "other words")]


class TestRedisLog:
    def test_holds_nothing_of_a_key_that_is_gone(self, home, redis_url):
        with redis.Redis.from_url(redis_url) as client:
            client.set("a key of this test", SAID)
            client.delete("a key of this test")
            client.set("another", "other words")
        rewrite_log(redis_url)
        logged = b"".join(one.read_bytes() for one in home.redis.rglob("*") if one.is_file())
        assert SAID.encode() not in logged
        assert b"other words" in logged


class TestSetAside:
    def test_a_version_of_a_deleted_row_leaves_the_list_and_the_file(self, tmp_path):
        warehouse = DuckDBWarehouse(tmp_path / "warehouse.duckdb")
        with open_raw(warehouse) as raw:
            for row in (GONE, KEPT):
                raw.execute(
                    "INSERT INTO raw._set_aside VALUES ('contacts', 'tenant', $1, 1, 'phone', 'a number', $2, NULL, 1,"
                    " now())", [row, SAID if row == GONE else "other words"],
                )  # fmt: skip
            raw.execute("INSERT INTO raw.deletions VALUES ('tenant', 'contacts', $1, $1, 1, now(), 2, now())", [GONE])
            forget_deleted(raw)
        rewrite(warehouse.raw_path)
        with duckdb.connect(str(warehouse.raw_path), read_only=True) as connection:
            assert connection.execute("SELECT row_id FROM raw.raw._set_aside").fetchall() == [(KEPT,)]
        assert SAID.encode() not in warehouse.raw_path.read_bytes()
