"""A day read again agrees with the source, whatever happened to raw; twice is once."""

from __future__ import annotations

import datetime as dt
import uuid

import psycopg
import pytest

from feature_store.ingest import TABLES, SourceReplaced, ingest
from feature_store.ingest_backfill import EVENT_TIMES, ingest_day

NOW = dt.datetime(2026, 3, 5, tzinfo=dt.UTC)
DAY = dt.date(2026, 3, 1)
LOADS = "SELECT load_id, kind FROM raw._loads ORDER BY 1"


@pytest.fixture
def orders(database, tenant) -> list[str]:
    """Four orders of a contact: the first two moments of the day, its last microsecond, and the next day's first."""
    made = [uuid.uuid4() for _ in range(4)]
    midnight = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
    moments = (
        midnight,
        midnight + dt.timedelta(hours=5),
        midnight + dt.timedelta(days=1, microseconds=-1),
        midnight + dt.timedelta(days=1),
    )
    with psycopg.connect(database.admin) as connection:
        contact = uuid.uuid4()
        connection.execute("INSERT INTO contacts (tenant_id, id) VALUES (%s, %s)", [tenant, contact])
        for order, moment in zip(made, moments, strict=True):
            connection.execute(
                "INSERT INTO orders (tenant_id, id, contact_id, external_id, platform, total_cents, ordered_at)"
                " VALUES (%s, %s, %s, %s, 'shop', 100, %s)",
                [tenant, order, contact, str(order), moment],
            )
        connection.execute(
            "INSERT INTO order_items (tenant_id, order_id, name, quantity, price_cents, created_at)"
            " VALUES (%s, %s, 'A', 1, 100, %s)",
            [tenant, made[0], midnight],
        )
    return [str(order) for order in made]


def held(warehouse, ids: list[str]) -> list[str]:
    found = warehouse.raw_query("SELECT id FROM raw.orders WHERE id = ANY($1)", [ids])["id"].to_list()
    return sorted(found, key=ids.index)


def quietly(database, statement: str, *parameters: object) -> None:
    """A statement no trigger sees, as a hand on the database or a lost disk would be."""
    with psycopg.connect(database.admin) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute(statement, parameters)


def test_every_table_has_the_time_its_rows_are_about(database):
    with psycopg.connect(database.admin) as connection:
        for table in TABLES:
            connection.execute(f'SELECT "{EVENT_TIMES[table]}" FROM {table} LIMIT 0')
    assert set(EVENT_TIMES) == set(TABLES)


def test_what_raw_lacks_of_the_day_comes_back_and_twice_is_once(database, warehouse, orders):
    ingest(database.etl_read, warehouse, now=NOW)
    warehouse.raw_execute("DELETE FROM raw.orders WHERE id = ANY($1)", [orders])

    done = ingest_day(database.etl_read, warehouse, DAY, NOW)

    assert done == dict.fromkeys(TABLES, (0, 0)) | {"orders": (3, 0)}
    assert held(warehouse, orders) == orders[:3]
    loads = warehouse.raw_query(LOADS).rows()
    assert loads == [(1, "ingest"), (2, "backfill")]

    assert ingest_day(database.etl_read, warehouse, DAY, NOW) == dict.fromkeys(TABLES, (0, 0))
    assert warehouse.raw_query(LOADS).rows() == loads
    assert held(warehouse, orders) == orders[:3]


def test_what_the_source_lost_without_a_word_leaves_and_says_so(database, warehouse, tenant, orders):
    ingest(database.etl_read, warehouse, now=NOW)
    quietly(database, "DELETE FROM orders WHERE id = %s", orders[1])
    quietly(database, "DELETE FROM order_items WHERE tenant_id = %s", tenant)
    quietly(database, "DELETE FROM orders WHERE id = %s", orders[3])

    done = ingest_day(database.etl_read, warehouse, DAY, NOW)

    assert (done["orders"], done["order_items"]) == ((0, 1), (0, 1))
    assert held(warehouse, orders) == [orders[0], orders[2], orders[3]]
    said = warehouse.raw_query(
        "SELECT table_name, row_id, contact_id, deleted_at FROM raw.deletions WHERE tenant_id = $1 ORDER BY 1 DESC",
        [str(tenant)],
    ).rows()
    (contact,) = warehouse.raw_query("SELECT DISTINCT contact_id FROM raw.orders WHERE id = $1", [orders[0]])[
        "contact_id"
    ]
    assert said[0] == ("orders", orders[1], contact, NOW)
    assert [(table, whose) for table, _, whose, _ in said] == [("orders", contact), ("order_items", contact)]
    assert ingest_day(database.etl_read, warehouse, DAY, NOW) == dict.fromkeys(TABLES, (0, 0))


def test_a_row_that_moved_to_another_day_is_not_lost(database, warehouse, orders):
    ingest(database.etl_read, warehouse, now=NOW)
    with psycopg.connect(database.admin) as connection:
        connection.execute("UPDATE orders SET ordered_at = '2026-03-03Z' WHERE id = %s", [orders[0]])

    assert ingest_day(database.etl_read, warehouse, DAY, NOW)["orders"] == (0, 0)
    assert held(warehouse, orders) == orders


def test_what_a_tombstone_explains_is_left_to_the_next_ingest(database, warehouse, orders):
    ingest(database.etl_read, warehouse, now=NOW)
    with psycopg.connect(database.admin) as connection:
        connection.execute("DELETE FROM orders WHERE id = %s", [orders[0]])

    assert ingest_day(database.etl_read, warehouse, DAY, NOW)["orders"] == (0, 0)
    ingest(database.etl_read, warehouse, now=NOW)
    assert held(warehouse, orders) == orders[1:]


def test_what_is_newer_than_the_last_ingest_is_left_to_the_next_one(database, warehouse, orders, versions, live):
    ingest(database.etl_read, warehouse, now=NOW)
    with psycopg.connect(database.admin) as connection:
        connection.execute("UPDATE orders SET total_cents = 7 WHERE id = %s", [orders[0]])

    assert ingest_day(database.etl_read, warehouse, DAY, NOW)["orders"] == (0, 0)
    ingest(database.etl_read, warehouse, now=NOW)
    assert held(warehouse, orders) == [orders[0], *orders]
    found = versions(warehouse, "orders")
    assert len(found) == len(set(found))


def test_a_row_put_back_after_a_backfill_removed_it_arrives(database, warehouse, tenant, orders):
    ingest(database.etl_read, warehouse, now=NOW)
    quietly(database, "DELETE FROM orders WHERE id = %s", orders[1])
    ingest_day(database.etl_read, warehouse, DAY, NOW)
    with psycopg.connect(database.admin) as connection:
        connection.execute(
            "INSERT INTO orders (tenant_id, id, contact_id, external_id, platform, total_cents, ordered_at)"
            " SELECT tenant_id, %s, contact_id, 'again', platform, 5, ordered_at FROM orders WHERE id = %s",
            [orders[1], orders[0]],
        )

    ingest(database.etl_read, warehouse, now=NOW)

    assert held(warehouse, orders) == orders


def test_a_source_that_is_younger_than_raw_is_refused(database, warehouse, orders, versions):
    ingest(database.etl_read, warehouse, now=NOW)
    warehouse.raw_execute(
        "UPDATE raw._horizons SET snapshot = '4000000000000:4000000000000:' WHERE table_name = 'orders'"
    )
    before = versions(warehouse, "orders")

    with pytest.raises(SourceReplaced, match="restored from a backup"):
        ingest_day(database.etl_read, warehouse, DAY, NOW, ["orders"])
    with pytest.raises(SourceReplaced, match="restored from a backup"):
        ingest(database.etl_read, warehouse, ["orders"], now=NOW)

    assert versions(warehouse, "orders") == before
