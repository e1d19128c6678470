from __future__ import annotations

import datetime as dt
import subprocess
import sys
import threading
import time
import uuid
from decimal import Decimal

import psycopg
import pyarrow as pa
import pytest

from serving.publication.service import InvalidMart, PublicationBlocked, publish_marts

NOW = dt.datetime(2026, 3, 10, 12, tzinfo=dt.UTC)


def mart(tenants, snapshot="s1", rows=3, **columns):
    """`rows` rows of each tenant, each telling its snapshot."""
    owners = [str(tenant) for tenant in tenants for _ in range(rows)]
    return pa.table({"tenant_id": owners, "snapshot": [snapshot] * len(owners)} | columns)


def in_catalog(database, query):
    with psycopg.connect(database.admin) as connection:
        return connection.execute(query).fetchall()


class TestPublishMarts:
    def test_rows_arrive_as_they_were_with_their_types(self, publish, seen, tenants):
        ours, contact = tenants[0], uuid.uuid4()
        moment = dt.datetime(2026, 3, 9, 23, 59, 59, 123456, tzinfo=dt.UTC)
        table = pa.table(
            {
                "tenant_id": [str(ours)] * 2,
                "contact_id": [str(contact), None],
                "day": [dt.date(2026, 3, 9), None],
                "at": pa.array([moment, None], pa.timestamp("us", "UTC")),
                "count": pa.array([2**62, None], pa.int64()),
                "rate": [0.1 + 0.2, None],
                "price": pa.array([Decimal("12.34"), None], pa.decimal128(10, 2)),
                "is_good": [True, None],
                "said": ['a "quoted", text\nof two lines; ümlaut 😀', ""],
                "kind": pa.array(["x", None]).dictionary_encode(),
            }
        )
        (published,) = publish(any_mart=table)
        assert (published.name, published.rows) == ("any_mart", 2)
        rows = seen("SELECT * FROM marts.any_mart ORDER BY day", ours)
        assert rows == [
            (ours, contact, dt.date(2026, 3, 9), moment, 2**62, 0.1 + 0.2, Decimal("12.34"), True,
             'a "quoted", text\nof two lines; ümlaut 😀', "x"),
            (ours, None, None, None, None, None, None, None, "", None),
        ]  # fmt: skip

    def test_readers_are_told_the_snapshot_and_not_how_many_rows_all_have(self, publish, seen, tenants, database):
        as_of = NOW - dt.timedelta(hours=1)
        publish("s7", as_of=as_of, a_mart=mart(tenants), other_mart=mart(tenants))
        query = "SELECT table_name, snapshot_id, as_of, published_at FROM marts.publications ORDER BY table_name"
        expected = [("a_mart", "s7", as_of, NOW), ("other_mart", "s7", as_of, NOW)]
        assert seen(query, tenants[0]) == expected
        assert seen(query, None) == []
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            seen("SELECT rows FROM marts.publications", tenants[0])
        assert in_catalog(database, "SELECT sum(rows) FROM marts.publications") == [(12,)]

    def test_a_mart_may_change_its_columns_under_readers_with_prepared_statements(
        self, publish, tenants, database, publisher_url
    ):
        publish(a_mart=mart(tenants, amount=[1] * 6))
        query = "SELECT sum(amount)::float8 FROM marts.a_mart"
        with psycopg.connect(database.app, autocommit=True, prepare_threshold=0) as reader:
            reader.execute("SELECT set_config('app.tenant_id', %s, false)", (str(tenants[0]),))
            assert reader.execute(query).fetchone() == (3.0,)
            publish(a_mart=mart(tenants, amount=[0.5] * 6, extra=["x"] * 6))
            assert reader.execute(query).fetchone() == (1.5,)
            assert reader.execute("SELECT DISTINCT extra FROM marts.a_mart").fetchall() == [("x",)]

    def test_the_schema_holds_one_snapshot_and_nothing_else(self, publish, tenants, database):
        publish(a_mart=mart(tenants), gone_mart=mart(tenants))
        publish("s2", a_mart=mart(tenants, "s2"))
        names = in_catalog(
            database, "SELECT relname FROM pg_class WHERE relnamespace = 'marts'::regnamespace ORDER BY 1"
        )
        kept = ["a_mart", "a_mart_key"]
        for own in ("publication_notes", "publications"):
            kept += [own, f"{own}_pkey"]
        assert names == [(name,) for name in kept]

    def test_an_index_begins_with_the_tenant(self, publish, tenants, database):
        publish(a_mart=mart(tenants, campaign_id=[str(uuid.uuid4())] * 6, local_date=[dt.date(2026, 1, 1)] * 6))
        ((definition,),) = in_catalog(database, "SELECT indexdef FROM pg_indexes WHERE indexname = 'a_mart_key'")
        assert definition.endswith("USING btree (tenant_id, local_date, campaign_id)")

    @pytest.mark.parametrize(
        ("name", "table", "told"),
        [
            ("a_mart", pa.table({"x": [1]}), "no column tenant_id"),
            ("a_mart", pa.table({"tenant_id": [str(uuid.uuid4())], "x": [[1]]}), "no counterpart"),
            ("a_mart", pa.table({"tenant_id": ["not a uuid"]}), "a_mart: invalid input syntax for type uuid"),
            ("a_mart", pa.table({"tenant_id": pa.array([None], pa.string())}), "null value in column"),
            ("publications", pa.table({"tenant_id": [str(uuid.uuid4())]}), "no name for a mart"),
            ("a; DROP", pa.table({"tenant_id": [str(uuid.uuid4())]}), "no name for a mart"),
        ],
    )
    def test_what_cannot_be_published_is_refused_and_the_old_serves_on(
        self, publish, seen, tenants, database, name, table, told
    ):
        publish(good_mart=mart(tenants))
        with pytest.raises(InvalidMart, match=told):
            publish("s2", good_mart=mart(tenants, "s2"), **{name: table})
        assert seen("SELECT DISTINCT snapshot FROM marts.good_mart", tenants[0]) == [("s1",)]
        assert leftovers(database) == []

    def test_rows_that_end_in_an_error_leave_the_old_serving(self, publish, seen, tenants, database, publisher_url):
        publish(a_mart=mart(tenants))
        good = mart(tenants, "s2")

        class Broken:
            schema = good.schema

            def __iter__(self):
                yield from good.to_batches()
                raise OSError("the warehouse went away")

        with pytest.raises(OSError, match="went away"):
            publish_marts(publisher_url, {"a_mart": Broken()}, "s2", NOW, NOW)
        assert seen("SELECT count(*), max(snapshot) FROM marts.a_mart", tenants[0]) == [(3, "s1")]
        assert leftovers(database) == []


def leftovers(database):
    return in_catalog(
        database,
        r"SELECT relname FROM pg_class WHERE relnamespace = 'marts'::regnamespace AND relname LIKE '%\_\_next'",
    )


class TestKilled:
    CODE = """
import datetime as dt, sys, time
import pyarrow as pa
from serving.publication.service import publish_marts
url, tenant = sys.argv[1:]
rows = pa.table({"tenant_id": [tenant] * 1000, "snapshot": ["killed"] * 1000})
class Endless:
    schema = rows.schema
    def __iter__(self):
        while True:
            yield from rows.to_batches()
            print("loading", flush=True)
            time.sleep(0.01)
now = dt.datetime.now(dt.UTC)
publish_marts(url, {"a_mart": rows.to_reader(), "b_mart": Endless()}, "killed", now, now)
"""

    def test_what_it_left_is_gone_after_the_next_publication(self, publish, seen, tenants, database, publisher_url):
        publish(a_mart=mart(tenants), b_mart=mart(tenants))
        process = subprocess.Popen(
            [sys.executable, "-c", self.CODE, publisher_url, str(tenants[0])], stdout=subprocess.PIPE
        )
        assert process.stdout.readline() == b"loading\n"
        process.kill()
        process.wait()
        assert seen("SELECT DISTINCT snapshot FROM marts.a_mart", tenants[0]) == [("s1",)]
        assert [name for (name,) in leftovers(database)] == ["a_mart__next"]
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            seen("SELECT * FROM marts.a_mart__next", tenants[0])
        publish("s2", a_mart=mart(tenants, "s2"), b_mart=mart(tenants, "s2"))
        assert seen("SELECT DISTINCT snapshot FROM marts.b_mart", tenants[0]) == [("s2",)]
        assert leftovers(database) == []


class TestReaders:
    ROWS = 20

    @pytest.mark.parametrize("isolation", ["READ COMMITTED", "REPEATABLE READ"])
    def test_see_whole_tables_of_one_snapshot_during_fifty_swaps(self, publish, tenants, database, isolation):
        """As the API reads: which snapshot serves, then tables in any order; again and again without a pause."""
        orders = [("publications", "a_mart", "b_mart"), ("publications", "b_mart", "a_mart")] * 2
        self.swap_under_readers(publish, tenants, database, orders, isolation, swaps=50, pause_seconds=0)

    def test_so_do_those_that_take_the_tables_in_any_order(self, publish, tenants, database):
        orders = [("b_mart", "a_mart", "publications"), ("a_mart", "b_mart", "a_mart"), ("b_mart", "publications")]
        self.swap_under_readers(publish, tenants, database, orders, "READ COMMITTED", swaps=10, pause_seconds=0.1)

    def swap_under_readers(self, publish, tenants, database, orders, isolation, *, swaps, pause_seconds):
        self.publish(publish, tenants, 0)
        ended, problems, reads = threading.Event(), [], [0] * len(orders)

        def read(number):
            with psycopg.connect(database.app, autocommit=True) as connection:
                while not ended.wait(pause_seconds):
                    try:
                        with connection.transaction():
                            connection.execute(f"SET TRANSACTION ISOLATION LEVEL {isolation}")
                            connection.execute("SELECT set_config('app.tenant_id', %s, true)", (str(tenants[0]),))
                            found = {told(connection, name) for name in orders[number]}
                    except psycopg.Error as error:
                        problems.append(repr(error))
                        return
                    if len(found) != 1 or [count for _, count in found] != [self.ROWS]:
                        problems.append(found)
                    reads[number] += 1

        def told(connection, name):
            """The snapshot a table says it is, with its rows; two of each if it were a mixture."""
            if name == "publications":
                return *connection.execute("SELECT DISTINCT snapshot_id FROM marts.publications").fetchone(), self.ROWS
            rows = connection.execute(f"SELECT snapshot, count(*) FROM marts.{name} GROUP BY snapshot").fetchall()
            return rows[0] if len(rows) == 1 else tuple(rows)

        readers = [threading.Thread(target=read, args=(number,)) for number in range(len(orders))]
        for reader in readers:
            reader.start()
        try:
            for number in range(1, swaps + 1):
                before = list(reads)
                self.publish(publish, tenants, number)
                # Nobody sits a swap out.
                patience = time.monotonic() + 30
                while not problems and any(now == then for now, then in zip(reads, before, strict=True)):
                    assert time.monotonic() < patience, "a reader has not read for 30 seconds"
                    time.sleep(0.005)
        finally:
            ended.set()
            for reader in readers:
                reader.join(timeout=30)
        assert problems == []
        assert min(reads) >= swaps

    def publish(self, publish, tenants, number):
        snapshot = f"s{number}"
        publish(snapshot, a_mart=mart(tenants, snapshot, self.ROWS), b_mart=mart(tenants, snapshot, self.ROWS))

    def test_one_that_does_not_let_go_stops_the_swap_and_delays_nobody_for_long(
        self, publish, seen, tenants, database, publisher_url
    ):
        publish(a_mart=mart(tenants))
        with psycopg.connect(database.app) as slow:
            slow.execute("SELECT count(*) FROM marts.a_mart")
            waits = []
            ended = threading.Event()

            def read():
                while not ended.is_set():
                    started = time.perf_counter()
                    seen("SELECT count(*) FROM marts.a_mart", tenants[0])
                    waits.append(time.perf_counter() - started)

            reader = threading.Thread(target=read)
            reader.start()
            try:
                with pytest.raises(PublicationBlocked):
                    publish_marts(
                        publisher_url, {"a_mart": mart(tenants, "s2").to_reader()}, "s2", NOW, NOW,
                        patience=dt.timedelta(seconds=2),
                    )  # fmt: skip
            finally:
                ended.set()
                reader.join()
        assert 0.3 < max(waits) < 2
        assert seen("SELECT DISTINCT snapshot FROM marts.a_mart", tenants[0]) == [("s1",)]
        assert leftovers(database) == []

    def test_two_publications_at_once_take_turns(self, publish, seen, tenants):
        snapshots = [f"p{number}" for number in range(4)]
        errors = []

        def run(snapshot):
            try:
                publish(snapshot, a_mart=mart(tenants, snapshot, 500), b_mart=mart(tenants, snapshot, 500))
            except Exception as error:
                errors.append(error)

        publishers = [threading.Thread(target=run, args=(snapshot,)) for snapshot in snapshots]
        for publisher in publishers:
            publisher.start()
        for publisher in publishers:
            publisher.join()
        assert errors == []
        query = "SELECT DISTINCT snapshot FROM marts.a_mart UNION SELECT DISTINCT snapshot FROM marts.b_mart"
        assert len(seen(query, tenants[0])) == 1
