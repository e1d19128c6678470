"""Nothing is missed and nothing doubled, however writers commit and whenever the reader dies."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
import threading

import duckdb
import psycopg
import pytest

from feature_store.ingest import TABLES, SourceSchemaChanged, ingest
from feature_store.ingest_raw import ADVISORY_LOCK

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
            assert {contact for contact, _ in versions(warehouse)} & {str(late), str(early)} == {str(early)}
            slow.commit()

        ingest(database.etl_read, warehouse, now=NOW)

        found = versions(warehouse)
        assert {str(late), str(early)} <= {contact for contact, _ in found}
        assert len(found) == len(set(found))

    def test_an_older_transaction_may_have_the_last_word(self, database, warehouse, tenant, versions, live):
        with psycopg.connect(database.admin) as connection:
            (contact,) = connection.execute(ADD, [tenant, "{}"]).fetchone()
        change = "UPDATE contacts SET priority = %s WHERE id = %s"
        with psycopg.connect(database.admin) as older, psycopg.connect(database.admin) as younger:
            older.execute(ADD, [tenant, "{}"])
            younger.execute(change, ["high", contact])
            younger.commit()
            ingest(database.etl_read, warehouse, now=NOW)
            older.execute(change, ["low", contact])
            older.commit()

        ingest(database.etl_read, warehouse, now=NOW)

        query = "SELECT priority, changed_xid FROM raw.contacts WHERE id = $1 ORDER BY _load_id"
        (_, first), (priority, last) = warehouse.raw_query(query, [str(contact)]).rows()
        assert priority == "low"
        assert last < first


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

    @pytest.mark.parametrize(
        ("change", "back", "statements", "value"),
        [
            ("ADD COLUMN nickname text", "DROP COLUMN nickname", 1, ("nickname", None)),
            ("DROP COLUMN language", "ADD COLUMN language text", 1, ("priority", "normal")),
            (
                "ALTER COLUMN language TYPE integer USING length(language)",
                "ALTER COLUMN language TYPE text",
                1,
                ("language", None),
            ),
            ("RENAME COLUMN priority TO urgency", "RENAME COLUMN urgency TO priority", 2, ("urgency", "normal")),
        ],
        ids=["added", "gone", "retyped", "renamed"],
    )
    def test_what_the_message_says_repairs_it(
        self, database, warehouse, tenant, change, back, statements, value, versions, live
    ):
        with psycopg.connect(database.admin) as connection:
            connection.execute(f"ALTER TABLE contacts {change}")
            connection.execute("REVOKE SELECT ON contacts FROM etl_read")
            names = "SELECT attname FROM pg_attribute WHERE attrelid = 'contacts'::regclass AND attnum > 0"
            columns = [name for (name,) in connection.execute(f"{names} AND NOT attisdropped").fetchall()]
            seen = ", ".join(sorted(set(columns) - {"name", "phone", "email"}))
            connection.execute(f"GRANT SELECT ({seen}) ON contacts TO etl_read")
            (contact,) = connection.execute(ADD, [tenant, "{}"]).fetchone()
        try:
            with pytest.raises(SourceSchemaChanged, match="Nothing was ingested") as refused:
                ingest(database.etl_read, warehouse, now=NOW)
            assert len(refused.value.repair) == statements
            for statement in refused.value.repair:
                assert statement in str(refused.value)
                warehouse.raw_execute(statement)
            ingest(database.etl_read, warehouse, now=NOW)

            column, expected = value
            found = warehouse.raw_query(f"SELECT {column} FROM raw.contacts WHERE id = $1", [str(contact)])
            assert found[column].to_list() == [expected]
            assert versions(warehouse) == live()
        finally:
            with psycopg.connect(database.admin) as connection:
                connection.execute(f"ALTER TABLE contacts {back}")
                connection.execute("GRANT SELECT (language, priority) ON contacts TO etl_read")


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


def test_a_second_writer_of_a_postgresql_warehouse_waits_for_the_first(database, postgres_warehouse, tenant):
    done = threading.Event()

    def second() -> None:
        ingest(database.etl_read, postgres_warehouse, ["tenants"], now=NOW)
        done.set()

    with psycopg.connect(postgres_warehouse.url) as first:
        first.execute("SELECT pg_advisory_lock(%s)", [ADVISORY_LOCK])
        writer = threading.Thread(target=second)
        writer.start()
        assert not done.wait(1)
    writer.join(30)

    assert done.is_set()
