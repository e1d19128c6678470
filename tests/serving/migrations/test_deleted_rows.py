"""Whatever the warehouse reads, its deletion is remembered, by nobody's leave."""

from __future__ import annotations

import uuid

import psycopg
import pytest
import sqlalchemy as sa
from alembic import command

from orchestration.runtime.postgres import EmbeddedPostgres
from serving.kit.database import sqlalchemy_url
from serving.migrations.service import LOGIN_ROLES, _config, create_database, migrate
from serving.models import Base
from serving.models.base import Ingested

INGESTED = sorted(
    mapper.class_.__tablename__ for mapper in Base.registry.mappers if issubclass(mapper.class_, Ingested)
)
A_LIFE = """
    INSERT INTO conversations (tenant_id, id, contact_id, started_at, last_message_at)
        VALUES (%(tenant)s, %(conversation)s, %(contact)s, now(), now());
    INSERT INTO messages (tenant_id, id, contact_id, conversation_id, direction, status, timestamp, provider_id)
        VALUES (%(tenant)s, %(message)s, %(contact)s, %(conversation)s, 'outbound', 'sent', now(), 'wamid.1');
    INSERT INTO message_status_events (tenant_id, message_id, status, occurred_at)
        VALUES (%(tenant)s, %(message)s, 'sent', now()), (%(tenant)s, %(message)s, 'read', now());
    INSERT INTO orders (tenant_id, id, contact_id, external_id, platform, total_cents, ordered_at)
        VALUES (%(tenant)s, %(order)s, %(contact)s, 'o-1', 'shop', 100, now());
    INSERT INTO order_items (tenant_id, order_id, name, quantity, price_cents)
        VALUES (%(tenant)s, %(order)s, 'A thing', 1, 100);
    INSERT INTO scores (tenant_id, contact_id, model, model_version, score, probability, tier, feature_snapshot_id,
        scored_at) VALUES (%(tenant)s, %(contact)s, 'churn', '1', 1, 0.5, 'low', 's', now());
"""


def one_life(database, tenant: uuid.UUID) -> dict[str, uuid.UUID]:
    """Ids of a contact and of what belongs to it: two status events, an order with an item, a score."""
    ids = {name: uuid.uuid4() for name in ("contact", "conversation", "message", "order")} | {"tenant": tenant}
    with psycopg.connect(database.admin) as connection, psycopg.ClientCursor(connection) as cursor:
        cursor.execute("INSERT INTO contacts (tenant_id, id) VALUES (%(tenant)s, %(contact)s)", ids)
        cursor.execute(A_LIFE, ids)
    return ids


def remembered(database, tenant: uuid.UUID) -> list[tuple[str, uuid.UUID | None]]:
    with psycopg.connect(database.admin) as connection:
        return connection.execute(
            "SELECT table_name, contact_id FROM deleted_rows WHERE tenant_id = %s ORDER BY 1", [tenant]
        ).fetchall()


ALL_OF_IT = [
    "contacts",
    "conversations",
    "message_status_events",
    "message_status_events",
    "messages",
    "order_items",
    "orders",
    "scores",
]


def test_every_table_the_warehouse_reads_remembers_and_refuses_truncate(database):
    with psycopg.connect(database.admin) as connection:
        triggers = connection.execute(
            "SELECT tgrelid::regclass::text, tgname FROM pg_trigger WHERE NOT tgisinternal"
        ).fetchall()
        for table in INGESTED:
            assert {(table, "A_remember_deleted"), (table, "mark_changed"), (table, "refuse_truncate")} <= set(triggers)


def test_a_contacts_deletion_is_remembered_down_to_the_last_row_with_whose_it_was(database):
    tenant = database.add_tenant()
    ids = one_life(database, tenant)
    with psycopg.connect(database.app) as connection:
        connection.execute("SELECT set_config('app.tenant_id', %s, true)", [str(tenant)])
        connection.execute("DELETE FROM contacts WHERE id = %s", [ids["contact"]])

    assert remembered(database, tenant) == [(table, ids["contact"]) for table in ALL_OF_IT]


def test_a_status_event_deleted_alone_is_remembered_with_whose_it_was(database):
    tenant = database.add_tenant()
    ids = one_life(database, tenant)
    with psycopg.connect(database.worker) as connection:
        connection.execute("SELECT set_config('app.tenant_id', %s, true)", [str(tenant)])
        connection.execute("DELETE FROM message_status_events WHERE status = 'read'")
        connection.execute("DELETE FROM order_items")

    owner = ids["contact"]
    assert remembered(database, tenant) == [("message_status_events", owner), ("order_items", owner)]


def test_a_tenants_deletion_is_remembered_after_the_tenant(database):
    tenant = database.add_tenant()
    ids = one_life(database, tenant)
    with psycopg.connect(database.admin) as connection:
        connection.execute("INSERT INTO usage_records (tenant_id, date) VALUES (%s, '2026-01-01')", [tenant])
        connection.execute("DELETE FROM tenants WHERE id = %s", [tenant])

    everything = [(table, ids["contact"]) for table in ALL_OF_IT] + [("tenants", None), ("usage_records", None)]
    assert remembered(database, tenant) == everything


def test_what_was_rolled_back_was_not_deleted(database):
    tenant = database.add_tenant()
    one_life(database, tenant)
    with psycopg.connect(database.admin) as connection:
        connection.execute("DELETE FROM contacts WHERE tenant_id = %s", [tenant])
        connection.rollback()

    assert remembered(database, tenant) == []


@pytest.mark.parametrize("role", ["app", "worker", "etl_read"])
@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM deleted_rows",
        "UPDATE deleted_rows SET row_id = gen_random_uuid()",
        "INSERT INTO deleted_rows (tenant_id, table_name, row_id) SELECT id, 'contacts', id FROM tenants",
    ],
    ids=["forgotten", "altered", "forged"],
)
def test_nobody_rewrites_what_was_deleted(database, role, statement):
    with (
        psycopg.connect(getattr(database, role)) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(statement)


def test_truncate_is_refused_with_the_reason(database):
    with psycopg.connect(database.admin) as connection, pytest.raises(psycopg.errors.RaiseException, match="TRUNCATE"):
        connection.execute("TRUNCATE contacts CASCADE")


def test_a_database_with_rows_goes_up_from_the_first_revision_and_back(home):
    secrets = home.secrets()
    passwords = {role: secrets[f"postgres_{role}"] for role in LOGIN_ROLES}
    url = EmbeddedPostgres(home).url("postgres", "postgres_admin", f"test_up_and_down_{uuid.uuid4().hex[:8]}")
    create_database(url)
    migrate(url, passwords, "0001")
    with psycopg.connect(url) as connection:
        connection.execute(
            "WITH tenant AS (INSERT INTO tenants (slug, name) VALUES ('t', 'T') RETURNING id),"
            " contact AS (INSERT INTO contacts (tenant_id) SELECT id FROM tenant RETURNING tenant_id, id)"
            " INSERT INTO scores (tenant_id, contact_id, model, model_version, score, probability, tier,"
            " feature_snapshot_id, scored_at)"
            " SELECT tenant_id, id, 'churn', '1', 1, 0.5, 'low', 's', now() FROM contact"
        )

    assert migrate(url, passwords, "0002") == "0002"
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT count(changed_xid) FROM scores").fetchone() == (1,)
    engine = sa.create_engine(sqlalchemy_url(url))
    with engine.connect() as connection:
        config = _config()
        config.attributes["connection"] = connection
        command.downgrade(config, "0001")
        connection.commit()
        assert not sa.inspect(connection).has_table("deleted_rows")
    engine.dispose()
    assert migrate(url, passwords, "0002") == "0002"
