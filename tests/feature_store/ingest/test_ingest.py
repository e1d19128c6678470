"""Nothing is missed and nothing doubled, however writers commit and whenever the reader dies."""

from __future__ import annotations

import datetime as dt
import random
import signal
import subprocess
import sys
import threading
import time
import uuid

import duckdb
import psycopg
import pytest

from feature_store.ingest import TABLES, SourceSchemaChanged, ingest

NOW = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
ADD = "INSERT INTO contacts (tenant_id, custom_data) VALUES (%s, %s) RETURNING id"


class TestOneRun:
    def test_rows_arrive_with_their_types_and_without_names_or_phones(self, database, warehouse, tenant):
        known_at = dt.datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=dt.UTC)
        with psycopg.connect(database.admin) as connection:
            connection.execute(
                "INSERT INTO contacts (tenant_id, phone, name, email, custom_data, tags, known_at)"
                " VALUES (%s, '+999100000007', 'Ada', 'ada@example.org', '{\"age\": 36}', '{a,b}', %s)",
                [tenant, known_at],
            )

        done = ingest(database.etl_read, warehouse, now=NOW)

        assert [table.name for table in done] == list(TABLES)
        frame = warehouse.raw_query("SELECT * FROM raw.contacts WHERE tenant_id = $1", [str(tenant)])
        row = frame.row(0, named=True)
        assert row["custom_data"] == '{"age": 36}'
        assert row["tags"] == ["a", "b"]
        assert row["known_at"] == known_at
        assert row["created_timestamp"] == NOW
        assert not {"phone", "name", "email"} & set(frame.columns)

    def test_what_people_wrote_arrives_as_its_length(self, database, warehouse, tenant):
        with psycopg.connect(database.admin) as connection:
            (contact,) = connection.execute(ADD, [tenant, "{}"]).fetchone()
            (conversation,) = connection.execute(
                "INSERT INTO conversations (tenant_id, contact_id, started_at, last_message_at)"
                " VALUES (%s, %s, now(), now()) RETURNING id",
                [tenant, contact],
            ).fetchone()
            connection.execute(
                "INSERT INTO messages (tenant_id, contact_id, conversation_id, direction, text, status, timestamp,"
                " provider_id) VALUES (%s, %s, %s, 'inbound', 'my number is secret', 'delivered', now(), 'wamid.1')",
                [tenant, contact, conversation],
            )

        ingest(database.etl_read, warehouse, now=NOW)

        frame = warehouse.raw_query("SELECT * FROM raw.messages WHERE tenant_id = $1", [str(tenant)])
        assert frame["text_length"].to_list() == [len("my number is secret")]
        assert "secret" not in str(frame.rows())

    def test_every_table_exists_before_its_first_row(self, database, warehouse):
        ingest(database.etl_read, warehouse, now=NOW)

        tables = warehouse.raw_query("SELECT table_name FROM information_schema.tables WHERE table_schema = 'raw'")
        assert set(TABLES) <= set(tables["table_name"])

    def test_a_second_run_adds_nothing(self, database, warehouse, tenant, versions):
        with psycopg.connect(database.admin) as connection:
            connection.execute(ADD, [tenant, "{}"])
        ingest(database.etl_read, warehouse, now=NOW)
        before = versions(warehouse)

        done = ingest(database.etl_read, warehouse, now=NOW)

        assert sum(table.rows for table in done) == 0
        assert versions(warehouse) == before

    def test_a_changed_row_arrives_as_another_version(self, database, warehouse, tenant):
        with psycopg.connect(database.admin) as connection:
            (contact,) = connection.execute(ADD, [tenant, '{"age": 1}']).fetchone()
        ingest(database.etl_read, warehouse, now=NOW)
        with psycopg.connect(database.admin) as connection:
            connection.execute("UPDATE contacts SET custom_data = '{\"age\": 2}' WHERE id = %s", [contact])

        ingest(database.etl_read, warehouse, now=NOW)

        query = "SELECT custom_data FROM raw.contacts WHERE id = $1 ORDER BY changed_xid"
        assert warehouse.raw_query(query, [str(contact)])["custom_data"].to_list() == ['{"age": 1}', '{"age": 2}']

    def test_a_table_that_is_not_ingested_is_refused(self, database, warehouse):
        with pytest.raises(ValueError, match="users is not ingested"):
            ingest(database.etl_read, warehouse, ["users"], now=NOW)


class TestWriters:
    def test_a_row_committed_after_later_rows_were_read_is_not_missed(self, database, warehouse, tenant, versions):
        with psycopg.connect(database.admin) as slow, psycopg.connect(database.admin) as quick:
            (late,) = slow.execute(ADD, [tenant, "{}"]).fetchone()
            (early,) = quick.execute(ADD, [tenant, "{}"]).fetchone()
            quick.commit()
            ingest(database.etl_read, warehouse, now=NOW)
            # The open transaction holds the horizon back: the later row waits for it.
            assert not {str(late), str(early)} & {contact for contact, _ in versions(warehouse)}
            slow.commit()

        ingest(database.etl_read, warehouse, now=NOW)

        assert {str(late), str(early)} <= {contact for contact, _ in versions(warehouse)}

    def test_many_writers_that_commit_late_and_out_of_order_lose_and_double_nothing(
        self, database, warehouse, versions, live
    ):
        tenant = database.add_tenant()
        stop = threading.Event()
        failures: list[Exception] = []

        def write(seed: int) -> None:
            chance = random.Random(seed)
            mine: list[uuid.UUID] = []
            try:
                with psycopg.connect(database.admin) as connection:
                    while not stop.is_set():
                        new = [
                            connection.execute(ADD, [tenant, "{}"]).fetchone()[0] for _ in range(chance.randrange(1, 8))
                        ]
                        if mine:
                            connection.execute(
                                "UPDATE contacts SET priority = 'high' WHERE id = ANY(%s)", [chance.sample(mine, 1)]
                            )
                        time.sleep(chance.random() * 0.12)
                        if chance.random() < 0.2:
                            connection.rollback()
                        else:
                            connection.commit()
                            mine += new
            except Exception as error:
                failures.append(error)

        writers = [threading.Thread(target=write, args=(seed,)) for seed in range(6)]
        for writer in writers:
            writer.start()
        until = time.monotonic() + 3
        runs = 0
        added = 0
        while time.monotonic() < until:
            added += sum(table.rows for table in ingest(database.etl_read, warehouse, ["contacts"], now=NOW))
            runs += 1
        stop.set()
        for writer in writers:
            writer.join()
        assert not failures
        assert runs > 5
        assert added > 50
        ingest(database.etl_read, warehouse, ["contacts"], now=NOW)

        found = versions(warehouse)
        assert len(found) == len(set(found))
        newest: dict[str, int] = {}
        for contact, xid in found:
            newest[contact] = max(xid, newest.get(contact, 0))
        assert sorted(newest.items()) == live()


# Says when a batch lies in the open transaction of the warehouse, and waits there to be killed.
INGESTS = """
import datetime as dt, sys, time
from feature_store.ingest import ingest
from feature_store.ingest_source import Source
from feature_store.warehouse import warehouse_at

read, count = Source.batches, 0

def batches(self, query):
    global count
    for batch in read(self, query):
        yield batch
        count += 1
        if count == int(sys.argv[3]):
            print("inside", flush=True)
            time.sleep(60)

Source.batches = batches
ingest(sys.argv[1], warehouse_at(sys.argv[2]), now=dt.datetime(2026, 3, 1, tzinfo=dt.UTC))
"""


def test_killed_between_batches_the_next_run_gives_the_same_rows(database, warehouse, tenant, versions, live, location):
    with psycopg.connect(database.admin) as connection:
        connection.execute(
            "INSERT INTO contacts (tenant_id, custom_data)"
            " SELECT %s, jsonb_build_object('filler', repeat('x', 600), 'n', n) FROM generate_series(1, 60000) n",
            [tenant],
        )
    for batch in (1, 2, 3):
        child = subprocess.Popen(
            [sys.executable, "-c", INGESTS, database.etl_read, location(warehouse), str(batch)],
            stdout=subprocess.PIPE,
        )
        assert child.stdout is not None
        assert child.stdout.readline() == b"inside\n"
        child.send_signal(signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL
        child.stdout.close()

    ingest(database.etl_read, warehouse, now=NOW)

    assert versions(warehouse) == live()
    horizons = warehouse.raw_query("SELECT count(*) AS n, count(DISTINCT table_name) AS d FROM raw._horizons").row(0)
    assert horizons == (len(TABLES), len(TABLES))


class TestChangedSource:
    @pytest.fixture(autouse=True)
    def _ingested(self, database, warehouse, tenant):
        ingest(database.etl_read, warehouse, now=NOW)

    @pytest.mark.parametrize(
        ("change", "back", "said"),
        [
            ("RENAME COLUMN priority TO urgency", "RENAME COLUMN urgency TO priority", "columns gone: priority"),
            (
                "ALTER COLUMN language TYPE integer USING NULL",
                "ALTER COLUMN language TYPE text USING NULL",
                "another type: language",
            ),
        ],
        ids=["gone", "retyped"],
    )
    def test_a_column_gone_or_of_another_type_is_refused_by_name(
        self, database, warehouse, tenant, change, back, said, versions
    ):
        with psycopg.connect(database.admin) as connection:
            connection.execute(ADD, [tenant, "{}"])
            connection.execute(f"ALTER TABLE contacts {change}")
        before = versions(warehouse)
        try:
            with pytest.raises(SourceSchemaChanged, match=said):
                ingest(database.etl_read, warehouse, ["contacts"], now=NOW)
        finally:
            with psycopg.connect(database.admin) as connection:
                connection.execute(f"ALTER TABLE contacts {back}")

        assert versions(warehouse) == before
        ingest(database.etl_read, warehouse, ["contacts"], now=NOW)
        assert len(versions(warehouse)) == len(before) + 1


def test_while_another_process_writes_the_warehouse_it_says_so(database, duckdb_warehouse):
    ingest(database.etl_read, duckdb_warehouse, now=NOW)
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"import duckdb; c = duckdb.connect({str(duckdb_warehouse.raw_path)!r}); print(1, flush=True); input()",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    holder.stdout.readline()
    try:
        with pytest.raises(duckdb.IOException, match="lock"):
            ingest(database.etl_read, duckdb_warehouse, now=NOW)
    finally:
        holder.communicate(b"\n")
