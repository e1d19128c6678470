"""A history goes in once, whole or not at all, and says what became of every row."""

from __future__ import annotations

import csv
import datetime as dt
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import psycopg
import pytest

from feature_store.model_inputs import check_model_inputs
from serving.consent import numbers
from serving.consent.suppression import phone_hmac
from serving.importing.consents import OTHER_NUMBER
from serving.importing.service import ImportRefused, ImportRunning, RejectedRows
from serving.kit.database import Database

from .conftest import NOW, PHONE_KEY

ROOT = Path(__file__).parents[3]
TABLES = (
    "contacts", "contact_identities", "campaigns", "conversations", "messages", "message_status_events", "replies",
    "orders", "conversions", "consents", "consent_events", "unsubscribers", "import_runs",
)  # fmt: skip


def contents(database, tenant_id) -> dict[str, list[tuple]]:
    """Every row of a tenant without what differs between tenants and runs: ids, their own times and transactions."""
    queries = {
        "contacts": "SELECT external_id, phone, name, custom_data, source, known_at FROM contacts",
        "identities": """SELECT c.external_id, i.kind, i.value FROM contact_identities i
            JOIN contacts c ON c.tenant_id = i.tenant_id AND c.id = i.contact_id""",
        "campaigns": "SELECT external_id, name, attributes, attribution_seconds, known_at FROM campaigns",
        "messages": """SELECT m.provider_id, c.external_id, k.external_id, m.direction, m.status,
                m.timestamp, m.known_at, v.started_at, v.last_message_at, v.window_expires_at
            FROM messages m JOIN contacts c ON c.tenant_id = m.tenant_id AND c.id = m.contact_id
            JOIN conversations v ON v.tenant_id = m.tenant_id AND v.id = m.conversation_id
            LEFT JOIN campaigns k ON k.tenant_id = m.tenant_id AND k.id = m.campaign_id""",
        "statuses": """SELECT m.provider_id, s.status, s.occurred_at, s.known_at FROM message_status_events s
            JOIN messages m ON m.tenant_id = s.tenant_id AND m.id = s.message_id""",
        "replies": """SELECT m.provider_id, o.provider_id, k.external_id, r.timestamp FROM replies r
            JOIN messages m ON m.tenant_id = r.tenant_id AND m.id = r.message_id
            LEFT JOIN messages o ON o.tenant_id = r.tenant_id AND o.id = r.in_reply_to_id
            LEFT JOIN campaigns k ON k.tenant_id = r.tenant_id AND k.id = r.campaign_id""",
        "orders": """SELECT c.external_id, o.external_id, o.platform, o.total_cents, o.ordered_at, o.known_at
            FROM orders o JOIN contacts c ON c.tenant_id = o.tenant_id AND c.id = o.contact_id""",
    }
    found = {}
    with psycopg.connect(database.admin) as connection:
        for name, query in queries.items():
            alias = query.split("FROM ")[1].split()[:2][-1]
            found[name] = sorted(
                map(str, connection.execute(f"{query} WHERE {alias}.tenant_id = %s", (tenant_id,)).fetchall())
            )
    return found


def refused(run, match: str, rows) -> None:
    with pytest.raises(ImportRefused, match=match) as caught:
        run()
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 800
    for table in TABLES:
        assert rows(f"SELECT count(*) FROM {table} WHERE tenant_id = %(tenant)s") == [(0,)], table


class TestImportHistory:
    def test_loads_every_row_with_its_own_time_as_the_time_it_became_known(self, run, rows):
        summary = run()
        read = {name: (t.read, t.loaded, t.rejected) for name, t in summary.tables.items()}
        assert read == {
            "contacts": (3, 3, {}), "campaigns": (1, 1, {}), "messages": (3, 3, {}), "statuses": (2, 2, {}),
            "replies": (1, 1, {}), "orders": (3, 3, {}),
        }  # fmt: skip
        people = rows(
            "SELECT external_id, phone, custom_data, known_at FROM contacts WHERE tenant_id = %(tenant)s ORDER BY 1"
        )
        berlin = dt.timezone(dt.timedelta(hours=1))
        assert people == [
            ("007", "+4915123456789", {"age": 34.0, "city": "Bonn"}, dt.datetime(2026, 1, 5, 10, tzinfo=berlin)),
            ("008", "+4915123456780", {"city": "Köln"}, dt.datetime(2026, 1, 6, 10, tzinfo=dt.UTC)),
            ("009", None, {"age": 51.0}, dt.datetime(2026, 1, 7, tzinfo=berlin)),
        ]
        sent = rows("""SELECT provider_id, direction, status, known_at = timestamp, timestamp FROM messages
            WHERE tenant_id = %(tenant)s ORDER BY 1""")
        at_nine = dt.datetime(2026, 3, 1, 9, tzinfo=berlin)
        assert sent[:3] == [
            ("shop:m1", "outbound", "read", True, at_nine),
            ("shop:m2", "outbound", "sent", True, at_nine),
            ("shop:m3", "outbound", "read", True, at_nine),
        ]
        assert sent[3][:3] == ("shop:reply:m1", "inbound", "delivered")
        answered = rows("""SELECT o.provider_id, k.name FROM replies r JOIN messages o ON o.id = r.in_reply_to_id
            JOIN campaigns k ON k.id = r.campaign_id WHERE r.tenant_id = %(tenant)s""")
        assert answered == [("shop:m1", "Spring")]
        settings = rows("SELECT settings FROM tenants WHERE id = %(tenant)s")[0][0]
        assert settings["model_inputs"] == {
            "contact": {"age": "number", "city": "category"},
            "campaign": {"reward": "number"},
        }
        assert rows("SELECT state, finished_at FROM import_runs WHERE tenant_id = %(tenant)s") == [("completed", NOW)]

    def test_true_and_false_reach_the_models_as_a_category(self, history, run, rows):
        history.change("mapping.yaml", "city: category}", "city: category, grown: boolean}")
        history.change("mapping.yaml", "age, city FROM", "age, city, age::INTEGER > 40 AS grown FROM")
        run()
        run()
        inputs = rows("SELECT settings->'model_inputs' FROM tenants WHERE id = %(tenant)s")[0][0]
        assert check_model_inputs(inputs)["contact"] == {"age": "number", "city": "category", "grown": "category"}
        facts = rows("SELECT custom_data->'grown' FROM contacts WHERE tenant_id = %(tenant)s ORDER BY name")
        assert facts == [(False,), (None,), (True,)]

    def test_the_same_history_again_changes_nothing(self, database, tenant, run, rows):
        run()
        before = contents(database, tenant)
        changed = "SELECT max(changed_xid::text::bigint) FROM messages WHERE tenant_id = %(tenant)s"
        newest = rows(changed)
        again = run()
        assert {name: (t.loaded, t.changed, t.already_there) for name, t in again.tables.items()} == {
            "contacts": (0, 0, 3), "campaigns": (0, 0, 1), "messages": (0, 0, 3), "statuses": (0, 0, 2),
            "replies": (0, 0, 1), "orders": (0, 0, 3),
        }  # fmt: skip
        assert contents(database, tenant) == before
        assert rows(changed) == newest

    def test_a_changed_row_is_taken_over_and_a_status_never_goes_back(self, history, run, rows):
        run()
        history.change("people.csv", "Anna", "Anna B.")
        history.change("sends.jsonl", '"read":"2026-03-01 09:05:00"', '"read":null')
        summary = run()
        assert (summary.tables["contacts"].changed, summary.tables["contacts"].already_there) == (1, 2)
        assert rows("SELECT name FROM contacts WHERE external_id = '007' AND tenant_id = %(tenant)s") == [("Anna B.",)]
        assert rows("SELECT status FROM messages WHERE provider_id = 'shop:m1' AND tenant_id = %(tenant)s") == [
            ("read",)
        ]

    def test_later_files_may_refer_to_an_earlier_import(self, history, run, rows):
        run()
        history.write(
            "mapping.yaml",
            "source: shop\nsources: {sends: {file: sends.jsonl}}\ntables:\n  statuses:\n    select: SELECT * FROM"
            " (VALUES ('m2', 'read', '2026-03-03'), ('nobody', 'read', '2026-03-03'))"
            " AS t (message, status, occurred_at)\n",
        )
        summary = run().tables["statuses"]
        assert (summary.loaded, summary.rejected) == (1, {"message: no such message": 1})
        assert rows("SELECT status FROM messages WHERE provider_id = 'shop:m2' AND tenant_id = %(tenant)s") == [
            ("read",)
        ]

    def test_a_person_who_is_there_by_phone_stays_one_person(self, database, tenant, run, rows):
        with psycopg.connect(database.admin) as connection:
            connection.execute(
                "INSERT INTO contacts (tenant_id, phone, name, source)"
                " VALUES (%s, '+4915123456789', 'Known', 'whatsapp')",
                (tenant,),
            )
        summary = run()
        assert (summary.tables["contacts"].loaded, summary.tables["messages"].loaded) == (2, 3)
        owner = rows("""SELECT c.source FROM messages m JOIN contacts c ON c.id = m.contact_id
            WHERE m.tenant_id = %(tenant)s AND m.provider_id = 'shop:m1'""")
        assert owner == [("whatsapp",)]
        assert run().tables["messages"].already_there == 3

    def test_another_tenant_is_untouched(self, database, run, rows):
        other = database.add_tenant()
        run(tenant=other)
        before = contents(database, other)
        run()
        assert contents(database, other) == before

    def test_a_dry_run_writes_no_row(self, run, rows):
        summary = run(dry_run=True)
        assert summary.tables["messages"].read == 3
        for table in TABLES:
            assert rows(f"SELECT count(*) FROM {table} WHERE tenant_id = %(tenant)s") == [(0,)], table
        assert rows("SELECT settings FROM tenants WHERE id = %(tenant)s") == [({},)]

    def test_two_imports_of_one_history_do_not_run_at_once(self, run):
        caught = []

        def in_the_middle(step: str, _done: int, _all: int) -> None:
            if step == "loading orders":
                with pytest.raises(ImportRunning) as refusal:
                    run()
                caught.append(refusal)

        run(progress=in_the_middle)
        assert len(caught) == 1

    def test_an_unknown_tenant_is_refused(self, run):
        with pytest.raises(ImportRefused, match="no tenant"):
            run(tenant=__import__("uuid").uuid4())

    def test_killed_in_the_middle_and_run_again_gives_the_same_rows(self, database, tenant, history, run):
        people = "id,phone,name,joined,age,city\n" + "".join(
            f"p{i},,N{i},2026-01-05,{i % 90},Bonn\n" for i in range(3000)
        )
        sends = "".join(
            f'{{"id":"m{i}","person":"p{i % 3000}","sent":"2026-03-01 09:{i % 60:02}:00","read":"2026-03-02","replied":'
            f"{'null' if i % 5 else chr(34) + '2026-03-03' + chr(34)}}}\n"
            for i in range(6000)
        )
        history.write("people.csv", people)
        history.write("sends.jsonl", sends)
        clean = database.add_tenant()
        run(tenant=clean)
        for chunk in (2, 9):
            script = textwrap.dedent(f"""
                import datetime as dt, os, signal, uuid
                from pathlib import Path
                from serving.importing import load, service
                load.CHUNK_ROWS = 1000
                seen = []
                def die(step, done, total):
                    seen.append(step)
                    if len(seen) == {chunk}:
                        os.kill(os.getpid(), signal.SIGKILL)
                service.import_history({database.app!r}, uuid.UUID({str(tenant)!r}), Path({str(history.mapping)!r}),
                    dt.datetime.fromisoformat({NOW.isoformat()!r}), die, phone_key={PHONE_KEY!r})
            """)
            killed = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True)
            assert killed.returncode == -signal.SIGKILL, killed.stderr
        with psycopg.connect(database.admin) as connection:
            state = connection.execute("SELECT state FROM import_runs WHERE tenant_id = %s", (tenant,)).fetchall()
        assert state == [("running",)]
        resumed = run()
        assert resumed.tables["contacts"].already_there > 0
        assert contents(database, tenant) == contents(database, clean)


class TestBadRows:
    def reject_reasons(self, run, table: str) -> dict[str, int]:
        return run().tables[table].rejected

    @pytest.mark.parametrize(
        ("old", "new", "reason"),
        [
            ("+49 1512 3456789", "12", "phone: "),
            ("+49 1512 3456789", "+49 151 2345678901234", "phone: "),
            ("2026-01-05 10:00:00", "2027-01-05 10:00:00", "known_at: in the future"),
            ("2026-01-05 10:00:00", "5th of May", "known_at: not a time"),
            ("2026-01-05 10:00:00", "1970-01-01", "known_at: before 1970-01-02"),
            ("2026-01-05 10:00:00", "", "known_at: missing"),
            ("007,", ",", "external_id: missing"),
            ("007,", "x" * 300 + ",", "external_id: longer than 200 characters"),
            (",34,", ",old,", "age: not a number"),
            (",34,", ",nan,", "age: not a finite number"),
            ("0151 23456780", "+4915123456789", "phone: another contact of this history has it"),
        ],
    )
    def test_a_bad_contact_is_rejected_with_the_reason_and_the_others_are_loaded(self, history, run, old, new, reason):
        history.change("people.csv", old, new)
        summary = run()
        (told,) = summary.tables["contacts"].rejected
        assert told.startswith(reason)
        assert summary.tables["contacts"].loaded == 2
        with (history.rejects / "contacts.csv").open(newline="") as file:
            (row,) = csv.DictReader(file)
        assert row["reason"] == told
        assert summary.tables["messages"].rejected == {"contact: no such contact": 1}

    def test_a_word_that_is_not_one_of_ours_is_rejected(self, history, run):
        history.change("mapping.yaml", "'read' AS status", "CASE id WHEN 'm1' THEN 'opened' ELSE 'READ' END AS status")
        summary = run().tables["statuses"]
        assert summary.rejected == {"status: not one of sent, delivered, read, failed": 1}
        assert summary.loaded == 1

    def test_money_must_be_whole_cents(self, history, run):
        history.change(
            "mapping.yaml",
            "1250 AS total_cents",
            "CASE id WHEN 'm1' THEN 12.5 WHEN 'm2' THEN -3 ELSE 7 END AS total_cents",
        )
        assert run().tables["orders"].rejected == {
            "total_cents: negative": 1,
            "total_cents: not a whole number of cents": 1,
        }

    def test_exact_repeats_are_counted_and_conflicting_ones_rejected(self, history, run):
        history.write(
            "people.csv",
            (history.folder / "people.csv").read_text() + "009,,Cleo,2026-01-07,51,\n007,,Eva,2026-01-07,1,\n",
        )
        summary = run().tables["contacts"]
        assert (summary.read, summary.loaded, summary.duplicates) == (5, 2, 1)
        assert summary.rejected == {"external_id: twice with different content": 2}

    def test_a_second_read_of_a_message_is_not_lost_silently(self, history, run, rows):
        history.change(
            "mapping.yaml",
            "WHERE read IS NOT NULL",
            "WHERE read IS NOT NULL UNION ALL SELECT 'm1', 'read', '2026-03-01 09:04:00'",
        )
        summary = run().tables["statuses"]
        assert (summary.loaded, summary.rejected) == (2, {"status: repeats an earlier one of this message": 1})
        kept = rows("""SELECT s.occurred_at FROM message_status_events s JOIN messages m ON m.id = s.message_id
            WHERE m.provider_id = 'shop:m1' AND s.tenant_id = %(tenant)s""")
        assert kept == [(dt.datetime(2026, 3, 1, 8, 4, tzinfo=dt.UTC),)]

    def test_every_row_is_accounted_for(self, history, run):
        history.change("people.csv", "0151 23456780", "nonsense")
        for table in run().tables.values():
            parts = table.loaded + table.changed + table.already_there + table.duplicates + sum(table.rejected.values())
            assert table.read == parts

    def test_strict_loads_nothing_and_still_tells_which(self, history, run, rows):
        history.change("people.csv", "0151 23456780", "nonsense")
        with pytest.raises(RejectedRows, match="rows are rejected and nothing was loaded"):
            run(strict=True)
        assert rows("SELECT count(*) FROM contacts WHERE tenant_id = %(tenant)s") == [(0,)]
        assert (history.rejects / "contacts.csv").exists()

    def test_rejects_are_safe_in_a_spreadsheet(self, history, run):
        history.change("people.csv", "0151 23456780,Ben", '+0151,"=HYPERLINK(""http://x"")"')
        run()
        with (history.rejects / "contacts.csv").open(newline="") as file:
            (row,) = csv.DictReader(file)
        assert (row["phone"], row["name"]) == ("'+0151", '\'=HYPERLINK("http://x")')

    def test_a_nul_character_is_rejected(self, history, run):
        history.change(
            "mapping.yaml", "phone, name,", "phone, name || CASE id WHEN '007' THEN chr(0) ELSE '' END AS name,"
        )
        assert run().tables["contacts"].rejected == {"name: holds a NUL character": 1}


class TestBadInput:
    @pytest.mark.parametrize(
        ("old", "new", "match"),
        [
            ("SELECT id AS external_id, phone", "SELEC id", r"mapping.yaml:10: tables.contacts.select: Parser Error"),
            ("joined AS known_at", "joined AS when_joined", r"contacts.select: gives no column known_at"),
            ("phone, name", "phone, nme", r"contacts.select: Binder Error.*nme"),
            ("name, joined", "name AS nickname, joined", r"unknown columns nickname.*attributes"),
            ("FROM people", "FROM people; DROP VIEW people", "must be one SELECT"),
            ("FROM people", "FROM read_csv('/etc/passwd')", "Permission Error"),
            ("people.csv", "missing.csv", r"mapping.yaml:5: sources.people.file: no such file"),
            ("source: shop", "sorce: shop", r"mapping.yaml:1: s"),
            ("{age: number", "{age: numeric", r"mapping.yaml:9: tables.contacts.attributes.age"),
            ("Europe/Berlin", "Europe/Bärlin", r"mapping.yaml:3: timezone: no time zone"),
            ("  orders:", "  ordres:", r"mapping.yaml:\d+: tables.*'ordres' is not one of"),
            ("tables:", "tables: [", r"mapping.yaml:\d+: not YAML"),
            ("  campaigns:", "  contacts:", r"mapping.yaml:11: tables.contacts: is there twice"),
            ("joined AS known_at", "5 AS known_at", r"known_at: a time is expected, not INTEGER"),
        ],
    )
    def test_a_wrong_mapping_is_refused_with_the_place_and_nothing_loaded(self, history, run, rows, old, new, match):
        history.change("mapping.yaml", old, new)
        refused(run, match, rows)

    def test_an_error_in_the_last_table_leaves_the_first_unloaded(self, history, run, rows):
        history.change("mapping.yaml", "1250 AS total_cents", "CAST(id AS INTEGER) AS total_cents")
        refused(run, r"orders.select: Conversion Error", rows)

    def test_a_missing_mapping_is_refused(self, history, run, rows):
        history.mapping.unlink()
        refused(run, "cannot be read", rows)

    def test_a_line_over_the_limit_is_refused_in_bounded_memory(self, history, run, rows):
        history.write("people.csv", "id,phone,name,joined,age,city\n1,," + "x" * 5_000_000 + ",2026-01-05,1,B\n")
        refused(run, r"people.csv.*(line|sniffing)", rows)

    def test_a_json_object_over_the_limit_is_refused(self, history, run, rows):
        history.write("sends.jsonl", '{"id":"' + "x" * 60_000_000 + '"}\n')
        refused(run, r"sends.jsonl.*maximum_object_size", rows)

    @pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
    def test_another_encoding_is_named_when_it_was_not_declared(self, history, run, rows, encoding):
        history.write("people.csv", (history.folder / "people.csv").read_text().encode(encoding))
        refused(run, r"UTF-16|not utf-8 encoded|Invalid unicode", rows)

    @pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
    def test_a_declared_encoding_is_read(self, history, run, encoding):
        history.write("people.csv", (history.folder / "people.csv").read_text().encode(encoding))
        history.change("mapping.yaml", "{file: people.csv}", f"{{file: people.csv, encoding: {encoding}}}")
        assert run().tables["contacts"].loaded == 3

    def test_a_torn_row_is_refused_with_its_line(self, history, run, rows):
        history.change("people.csv", "008,0151 23456780,Ben", "008,Ben")
        refused(run, "(?s)people.csv|Line: 3", rows)

    def test_a_file_of_another_kind_is_refused(self, history, run, rows):
        history.change("mapping.yaml", "{file: people.csv}", "{file: people.csv, format: parquet}")
        refused(run, "not a Parquet file", rows)

    def test_types_of_facts_that_disagree_with_the_tenants_are_refused(self, database, history, tenant, run, rows):
        with psycopg.connect(database.admin) as connection:
            settings = '{"model_inputs": {"contact": {"age": "category"}}}'
            connection.execute("UPDATE tenants SET settings = %s WHERE id = %s", (settings, tenant))
        refused(run, r"mapping.yaml:9: tables.contacts.attributes.age: is declared number here and category", rows)

    def test_a_variable_without_a_value_is_asked_for(self, history, run, rows):
        history.change("mapping.yaml", "sources:", "variables: {data: }\nsources:")
        refused(run, "variables.data: has no value; give --var data=", rows)


class TestConsents:
    CONSENTS = """
  consents:
    select: SELECT person AS contact, word AS status, day AS occurred_at, 'form' AS source FROM consents
"""

    @pytest.fixture
    def consents(self, history):
        history.write("mapping.yaml", history.mapping.read_text() + self.CONSENTS)
        history.change("mapping.yaml", "  people:", "  consents: {file: consents.csv}\n  people:")

        def write(*lines: str) -> None:
            history.write("consents.csv", "person,word,day\n" + "".join(f"{line}\n" for line in lines))

        return write

    def held(self, rows):
        return dict(
            rows("""SELECT c.external_id, s.status FROM consents s JOIN contacts c ON c.id = s.contact_id
            WHERE s.tenant_id = %(tenant)s""")
        )

    def test_the_newest_word_of_the_history_holds(self, consents, run, rows):
        consents("007,opted_in,2026-01-05", "008,opted_in,2026-01-05", "008,opted_out,2026-02-05")
        assert run().tables["consents"].loaded == 3
        assert self.held(rows) == {"007": "opted_in", "008": "opted_out"}
        listed = rows("SELECT phone_hmac FROM unsubscribers WHERE tenant_id = %(tenant)s")
        assert listed == [(phone_hmac("+4915123456780", PHONE_KEY),)]
        assert run().tables["consents"].already_there == 3

    def test_a_number_on_the_list_stays_out(self, database, tenant, consents, run, rows):
        with psycopg.connect(database.admin) as connection:
            connection.execute(
                "INSERT INTO unsubscribers (tenant_id, phone_hmac, reason, date) VALUES (%s, %s, 'STOP', '2026-01-01')",
                (tenant, phone_hmac("+4915123456789", PHONE_KEY)),
            )
        consents("007,opted_in,2026-05-05", "008,opted_in,2026-05-05")
        summary = run().tables["consents"]
        assert (summary.loaded, list(summary.rejected)) == (
            1,
            ["status: this person opted out; an import never opts anyone in again"],
        )
        assert self.held(rows) == {"007": "opted_out", "008": "opted_in"}

    def test_an_opt_out_that_is_there_is_not_undone_by_a_later_file(self, consents, run, rows):
        consents("007,opted_out,2026-01-05")
        run()
        consents("007,opted_out,2026-01-05", "007,opted_in,2026-06-05")
        summary = run().tables["consents"]
        assert (summary.already_there, sum(summary.rejected.values())) == (1, 1)
        assert self.held(rows) == {"007": "opted_out"}

    def test_a_grant_for_another_number_than_the_contacts_is_none(self, history, consents, run, rows):
        consents("007,opted_in,2026-01-05")
        run()
        history.change("people.csv", "+49 1512 3456789", "+49 1512 3456700")
        consents("007,opted_in,2026-01-05", "007,opted_in,2026-06-05")
        summary = run().tables["consents"]
        assert list(summary.rejected) == [OTHER_NUMBER]
        assert rows("SELECT phone FROM contacts WHERE external_id = '007' AND tenant_id = %(tenant)s") == [
            ("+4915123456789",)
        ]
        # An event from the other number is not taken for one of this contact.
        assert rows(
            "SELECT count(*) FROM contact_identities WHERE value = '+4915123456700' AND tenant_id = %(tenant)s"
        ) == [(0,)]
        granted = "SELECT occurred_at FROM consent_events WHERE status = 'opted_in' AND tenant_id = %(tenant)s"
        assert len(rows(granted)) == 1

    def test_an_opt_out_for_another_number_than_the_contacts_is_for_both(self, history, consents, run, rows):
        consents("007,opted_in,2026-01-05")
        run()
        history.change("people.csv", "+49 1512 3456789", "+49 1512 3456700")
        consents("007,opted_in,2026-01-05", "007,opted_out,2026-06-05")
        run()
        assert self.held(rows) == {"007": "opted_out"}
        listed = {row[0] for row in rows("SELECT phone_hmac FROM unsubscribers WHERE tenant_id = %(tenant)s")}
        assert listed == {phone_hmac(number, PHONE_KEY) for number in ("+4915123456789", "+4915123456700")}

    def test_a_person_found_by_number_and_by_id_is_the_one_with_the_number(self, history, database, tenant, run, rows):
        with psycopg.connect(database.admin) as connection:
            for phone, source, external_id in (("+4915123456789", "whatsapp", None), ("+4915123450000", "shop", "007")):
                connection.execute(
                    "INSERT INTO contacts (tenant_id, phone, source, external_id) VALUES (%s, %s, %s, %s)",
                    (tenant, phone, source, external_id),
                )
        run()
        found = rows(
            "SELECT DISTINCT c.phone FROM orders o JOIN contacts c ON c.id = o.contact_id"
            " WHERE o.tenant_id = %(tenant)s AND c.external_id IS DISTINCT FROM '008'"
            " AND c.external_id IS DISTINCT FROM '009'"
        )
        assert found == [("+4915123456789",)]

    def test_a_changed_number_is_not_granted_again_by_the_old_file(self, database, tenant, consents, run, rows):
        consents("007,opted_in,2026-01-05")
        run()
        door = Database(database.worker, pool_size=1)
        ((contact_id,),) = rows("SELECT id FROM contacts WHERE external_id = '007' AND tenant_id = %(tenant)s")
        with door.tenant(tenant) as session:
            numbers.withdraw(session, tenant, {contact_id: "a test"}, NOW, PHONE_KEY)
        door.dispose()
        consents("007,opted_in,2026-01-05", "007,opted_in,2026-06-05")
        run()
        assert self.held(rows) == {"007": "opted_out"}
        assert rows("SELECT count(*) FROM unsubscribers WHERE tenant_id = %(tenant)s") == [(0,)]


class TestLoading:
    def test_an_error_while_loading_is_the_one_reported_and_the_run_is_marked_failed(self, run, rows):
        def fail(step: str, _done: int, _all: int) -> None:
            if step == "loading orders":
                raise ConnectionError("the database went away")

        with pytest.raises(ConnectionError, match="went away"):
            run(progress=fail)
        assert rows("SELECT state FROM import_runs WHERE tenant_id = %(tenant)s") == [("failed",)]
        assert rows("SELECT count(*) FROM orders WHERE tenant_id = %(tenant)s") == [(0,)]
        assert run().tables["orders"].loaded == 3
        assert rows("SELECT state FROM import_runs WHERE tenant_id = %(tenant)s") == [("completed",)]
