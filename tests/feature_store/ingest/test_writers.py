"""Nothing is missed and nothing doubled, in whatever order writers commit, while ingest runs again and again.

Five seconds in `make test`, a minute with CHAOS=full.
"""

from __future__ import annotations

import datetime as dt
import os
import random
import threading
import time
import uuid
from dataclasses import dataclass, field

import psycopg
import pytest

from feature_store.ingest import ingest

NOW = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
SECONDS = 60 if os.environ.get("CHAOS") == "full" else 5
WRITERS = 8
TABLES = ("contacts", "orders")
ADD = "INSERT INTO contacts (tenant_id, id) VALUES (%s, %s)"
ORDER = (
    "INSERT INTO orders (tenant_id, contact_id, external_id, platform, total_cents, ordered_at)"
    " SELECT %s, id, gen_random_uuid()::text, 'shop', 100, now() FROM contacts WHERE id = ANY(%s)"
)
ORPHANS = "SELECT count(*) AS n FROM raw.orders WHERE contact_id NOT IN (SELECT id FROM raw.contacts)"


@dataclass
class Writer:
    """Adds, changes, deletes and puts back contacts and their orders, in transactions that last up to a third of a
    second, one in five of which is taken back."""

    url: str
    tenant: uuid.UUID
    seed: int
    stop: threading.Event
    mine: list[uuid.UUID] = field(default_factory=list)
    committed: int = 0
    deleted: int = 0
    failure: Exception | None = None

    def run(self) -> None:
        chance = random.Random(self.seed)
        try:
            with psycopg.connect(self.url) as connection:
                while not self.stop.is_set():
                    self._transaction(connection, chance)
        except Exception as error:
            self.failure = error

    def _transaction(self, connection: psycopg.Connection, chance: random.Random) -> None:
        new = [uuid.uuid4() for _ in range(chance.randrange(1, 8))]
        for contact in new:
            connection.execute(ADD, [self.tenant, contact])
        connection.execute(ORDER, [self.tenant, new])
        known = chance.sample(self.mine, min(len(self.mine), 6))
        connection.execute("UPDATE contacts SET priority = 'high' WHERE id = ANY(%s)", [known[:2]])
        connection.execute("UPDATE orders SET total_cents = total_cents + 1 WHERE contact_id = ANY(%s)", [known[1:3]])
        gone = known[3:5]
        connection.execute("DELETE FROM contacts WHERE id = ANY(%s)", [gone])
        back = known[4:5]
        for contact in back:
            connection.execute(ADD, [self.tenant, contact])
        time.sleep(chance.random() ** 2 * 0.3)
        if chance.random() < 0.2:
            connection.rollback()
            return
        connection.commit()
        self.mine = [contact for contact in self.mine if contact not in gone] + new + back
        self.committed += 1
        self.deleted += len(gone)


@pytest.mark.chaos
def test_eight_writers_that_commit_late_and_out_of_order_lose_and_double_nothing(database, warehouse, versions, live):
    tenant = database.add_tenant()
    ingest(database.etl_read, warehouse, now=NOW)
    stop = threading.Event()
    writers = [Writer(database.admin, tenant, seed, stop) for seed in range(WRITERS)]
    threads = [threading.Thread(target=writer.run) for writer in writers]
    for thread in threads:
        thread.start()
    until = time.monotonic() + SECONDS
    runs = []

    def enough() -> bool:
        """Also on a machine that has little time for this."""
        with_rows = sum(1 for run in runs if any(table.rows for table in run))
        committed, deleted = sum(one.committed for one in writers), sum(one.deleted for one in writers)
        return with_rows > 5 and committed > 20 * SECONDS / 5 and deleted > 20

    while time.monotonic() < until or not enough():
        assert all(thread.is_alive() for thread in threads), [writer.failure for writer in writers]
        runs.append(ingest(database.etl_read, warehouse, TABLES, now=NOW))
        # One snapshot for all tables: an order never arrives before its contact, nor stays after it.
        assert warehouse.raw_query(ORPHANS)["n"][0] == 0
    stop.set()
    for thread in threads:
        thread.join()
    assert [writer.failure for writer in writers] == [None] * WRITERS

    ingest(database.etl_read, warehouse, TABLES, now=NOW)

    for table in TABLES:
        found = versions(warehouse, table)
        assert len(found) == len(set(found)), f"{table}: rows doubled"
        newest = warehouse.raw_query(f"SELECT id, changed_xid FROM raw.{table} ORDER BY _load_id").rows()
        assert sorted(dict(newest).items()) == live(table), f"{table}: rows missed, or deleted ones kept"
