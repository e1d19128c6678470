"""What the operational database has forgotten, the warehouse forgets."""

from __future__ import annotations

import datetime as dt
import uuid

import psycopg
import pytest

from feature_store.ingest import ingest

NOW = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
LATER = NOW + dt.timedelta(hours=1)
GONE = "SELECT table_name, contact_id, _load_id FROM raw.deletions WHERE tenant_id = $1 ORDER BY 1"


@pytest.fixture
def contact(database, tenant) -> uuid.UUID:
    return add(database, tenant)


def add(database, tenant, contact: uuid.UUID | None = None) -> uuid.UUID:
    """A contact with two orders, one of them with an item."""
    contact = contact or uuid.uuid4()
    order = uuid.uuid4()
    with psycopg.connect(database.admin) as connection:
        connection.execute("INSERT INTO contacts (tenant_id, id) VALUES (%s, %s)", [tenant, contact])
        for one in (order, uuid.uuid4()):
            connection.execute(
                "INSERT INTO orders (tenant_id, id, contact_id, external_id, platform, total_cents, ordered_at)"
                " VALUES (%s, %s, %s, %s, 'shop', 100, now())",
                [tenant, one, contact, str(one)],
            )
        connection.execute(
            "INSERT INTO order_items (tenant_id, order_id, name, quantity, price_cents) VALUES (%s, %s, 'A', 1, 100)",
            [tenant, order],
        )
    return contact


def run(database, statement: str, *parameters: object) -> None:
    with psycopg.connect(database.admin) as connection:
        connection.execute(statement, parameters)


def ids(warehouse, tenant, table="contacts") -> list[str]:
    found = warehouse.raw_query(f"SELECT id FROM raw.{table} WHERE tenant_id = $1 ORDER BY 1", [str(tenant)])
    return found["id"].to_list()


def test_every_version_of_a_deleted_row_leaves_and_what_hung_on_it(database, warehouse, tenant, contact):
    kept = add(database, tenant)
    ingest(database.etl_read, warehouse, now=NOW)
    run(database, "UPDATE contacts SET priority = 'high' WHERE id = %s", contact)
    ingest(database.etl_read, warehouse, now=NOW)
    assert ids(warehouse, tenant).count(str(contact)) == 2
    run(database, "DELETE FROM contacts WHERE id = %s", contact)

    done = {table.name: table for table in ingest(database.etl_read, warehouse, now=LATER)}

    assert ids(warehouse, tenant) == [str(kept)]
    assert len(ids(warehouse, tenant, "orders")) == 2
    assert len(ids(warehouse, tenant, "order_items")) == 1
    assert (done["contacts"].deleted, done["orders"].deleted, done["messages"].deleted) == (1, 2, 0)
    load = done["contacts"].load_id
    whose = [("contacts", 1), ("order_items", 1), ("orders", 2)]
    assert warehouse.raw_query(GONE, [str(tenant)]).rows() == [
        (table, str(contact), load) for table, rows in whose for _ in range(rows)
    ]


def test_applied_once(database, warehouse, tenant, contact):
    ingest(database.etl_read, warehouse, now=NOW)
    run(database, "DELETE FROM contacts WHERE id = %s", contact)
    ingest(database.etl_read, warehouse, now=NOW)
    before = warehouse.raw_query(GONE, [str(tenant)]).rows()

    done = ingest(database.etl_read, warehouse, now=LATER)

    assert sum(table.deleted for table in done) == 0
    assert warehouse.raw_query(GONE, [str(tenant)]).rows() == before


def test_a_row_that_came_and_went_between_two_runs_leaves_only_its_deletion(database, warehouse, tenant):
    ingest(database.etl_read, warehouse, now=NOW)
    contact = add(database, tenant)
    run(database, "DELETE FROM contacts WHERE id = %s", contact)

    ingest(database.etl_read, warehouse, now=LATER)

    assert ids(warehouse, tenant) == ids(warehouse, tenant, "orders") == []
    assert {whose for _, whose, _ in warehouse.raw_query(GONE, [str(tenant)]).rows()} == {str(contact)}


def test_a_row_deleted_and_put_back_in_one_transaction_survives(database, warehouse, tenant, contact, versions):
    ingest(database.etl_read, warehouse, now=NOW)
    with psycopg.connect(database.admin) as connection:
        connection.execute("DELETE FROM contacts WHERE id = %s", [contact])
        connection.execute("INSERT INTO contacts (tenant_id, id, priority) VALUES (%s, %s, 'low')", [tenant, contact])

    ingest(database.etl_read, warehouse, now=LATER)

    found = warehouse.raw_query("SELECT priority FROM raw.contacts WHERE id = $1", [str(contact)])
    assert found["priority"].to_list() == ["low"]


def test_a_deletion_by_an_older_transaction_than_the_rows_last_change_is_applied(database, warehouse, tenant, contact):
    with psycopg.connect(database.admin) as older:
        older.execute("INSERT INTO contacts (tenant_id) VALUES (%s)", [tenant])
        run(database, "UPDATE contacts SET priority = 'high' WHERE id = %s", contact)
        ingest(database.etl_read, warehouse, now=NOW)
        assert ids(warehouse, tenant) == [str(contact)]
        older.execute("DELETE FROM contacts WHERE id = %s", [contact])
    ingest(database.etl_read, warehouse, now=LATER)

    assert str(contact) not in ids(warehouse, tenant)
    assert len(ids(warehouse, tenant)) == 1


def test_a_row_put_back_by_an_older_transaction_than_its_deletion_survives(database, warehouse, tenant, contact):
    ingest(database.etl_read, warehouse, now=NOW)
    with psycopg.connect(database.admin) as older:
        older.execute("INSERT INTO contacts (tenant_id) VALUES (%s)", [tenant])
        run(database, "DELETE FROM contacts WHERE id = %s", contact)
        older.execute("INSERT INTO contacts (tenant_id, id) VALUES (%s, %s)", [tenant, contact])
    ingest(database.etl_read, warehouse, now=LATER)

    assert ids(warehouse, tenant).count(str(contact)) == 1


def test_tables_ingested_apart_each_get_their_deletions(database, warehouse, tenant, contact):
    ingest(database.etl_read, warehouse, now=NOW)
    run(database, "DELETE FROM contacts WHERE id = %s", contact)

    ingest(database.etl_read, warehouse, ["orders"], now=LATER)
    assert (ids(warehouse, tenant), ids(warehouse, tenant, "orders")) == ([str(contact)], [])
    ingest(database.etl_read, warehouse, ["contacts"], now=LATER)
    assert ids(warehouse, tenant) == []


def test_a_whole_tenant_leaves(database, warehouse, tenant, contact):
    ingest(database.etl_read, warehouse, now=NOW)
    run(database, "DELETE FROM tenants WHERE id = %s", tenant)

    ingest(database.etl_read, warehouse, now=LATER)

    left = warehouse.raw_query("SELECT count(*) AS n FROM raw.tenants WHERE id = $1", [str(tenant)])
    assert left["n"][0] == 0
    assert ids(warehouse, tenant) == ids(warehouse, tenant, "order_items") == []
