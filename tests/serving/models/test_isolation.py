"""Walks the catalog: whatever table, view or function exists, a tenant sees and writes its own rows only."""

from __future__ import annotations

import uuid

import psycopg
import pytest
import sqlalchemy as sa
import sqlalchemy.orm
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from serving.kit.database import Database, TenantMissing, sqlalchemy_url
from serving.models import Base

REVIEWED_DEFINERS = {
    "auth_login",
    "auth_user",
    "auth_api_key",
    "auth_api_key_used",
    "route_number",
    "tenants_with_work",
    "remember_deleted",
}
TENANT_TABLES = sorted(name for name, table in Base.metadata.tables.items() if "tenant_id" in table.columns)


def in_catalog(database, query, *parameters):
    with psycopg.connect(database.admin) as connection:
        return connection.execute(query, parameters).fetchall()


@pytest.fixture(scope="module")
def two_tenants(database):
    """One row of every tenant table for each of two tenants, written as the superuser with foreign keys off."""
    tenants = (database.add_tenant("ours"), database.add_tenant("theirs"))
    with psycopg.connect(database.admin) as connection:
        connection.execute("SET session_replication_role = replica")
        for tenant in tenants:
            for name in TENANT_TABLES:
                columns = {"tenant_id": tenant} | {
                    column.name: _any_value(column)
                    for column in Base.metadata.tables[name].columns
                    if not column.nullable and column.server_default is None and column.name != "tenant_id"
                }
                names = ", ".join(f'"{column}"' for column in columns)
                marks = ", ".join("%s" for _ in columns)
                connection.execute(f"INSERT INTO {name} ({names}) VALUES ({marks})", [str(v) for v in columns.values()])
    return tenants


def _any_value(column):
    checks = {
        "status": "failed", "direction": "inbound", "classification": "question", "kind": "rule", "role": "sales",
        "outcome": "send",
    }  # fmt: skip
    table_checks = {
        ("consents", "status"): "opted_in",
        ("consent_events", "status"): "opted_in",
        ("contact_identities", "kind"): "phone",
    }  # fmt: skip
    value = table_checks.get((column.table.name, column.name)) or checks.get(column.name)
    if column.name == "provider_number_id":
        return uuid.uuid4().hex
    if value is not None and isinstance(column.type, sa.Text):
        return value
    if isinstance(column.type, sa.Uuid):
        return "00000000-0000-4000-8000-000000000001"
    if isinstance(column.type, sa.Date):
        return "2026-01-01"
    if isinstance(column.type, sa.DateTime):
        return "2026-01-01T00:00:00Z"
    if isinstance(column.type, (sa.Integer, sa.Float)):
        return "1"
    if isinstance(column.type, sa.JSON):
        return "{}"
    return "text"


class TestRowLevelSecurity:
    def test_it_is_enabled_and_forced_on_every_table(self, database):
        loose = in_catalog(
            database,
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
            " AND relname <> 'alembic_version' AND NOT (relrowsecurity AND relforcerowsecurity)",
        )
        assert loose == []

    def test_no_materialized_view_no_owner_view(self, database):
        views = in_catalog(
            database,
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND (relkind = 'm' OR"
            " (relkind = 'v' AND NOT coalesce('security_invoker=true' = ANY (reloptions), false)))",
        )
        assert views == []

    def test_security_definer_functions_are_the_reviewed_ones(self, database):
        found = in_catalog(
            database, "SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND prosecdef"
        )
        assert {name for (name,) in found} == REVIEWED_DEFINERS

    def test_tenant_is_in_every_unique_key_but_the_number_that_routes_webhooks(self, database):
        keys = in_catalog(
            database,
            """SELECT c.conname FROM pg_constraint c WHERE c.contype IN ('u', 'p')
               AND c.conrelid = ANY (%s::regclass[]) AND NOT EXISTS (SELECT FROM pg_attribute a
                   WHERE a.attrelid = c.conrelid AND a.attnum = ANY (c.conkey) AND a.attname = 'tenant_id')""",
            TENANT_TABLES,
        )
        assert keys == [("uq_phone_numbers_provider_number_id",)]

    def test_roles_of_processes_are_not_superusers_and_do_not_bypass(self, database):
        roles = in_catalog(
            database, "SELECT rolname FROM pg_roles WHERE rolname IN ('app', 'worker') AND (rolsuper OR rolbypassrls)"
        )
        assert roles == []


@pytest.mark.parametrize("role", ["app", "worker"])
@pytest.mark.parametrize("table", TENANT_TABLES)
class TestEveryTenantTable:
    def test_another_tenants_rows_are_refused(self, database, two_tenants, role, table):
        ours, theirs = two_tenants
        with psycopg.connect(getattr(database, role)) as connection:
            connection.execute("SELECT set_config('app.tenant_id', %s, true)", (str(ours),))
            seen = connection.execute(f"SELECT DISTINCT tenant_id FROM {table}").fetchall()
            assert seen == [(ours,)]
            writable = connection.execute("SELECT has_table_privilege(%s, 'UPDATE')", (table,)).fetchone() == (True,)
            if writable:
                touched = connection.execute(
                    f"UPDATE {table} SET tenant_id = tenant_id WHERE tenant_id = %s", (theirs,)
                )
                assert touched.rowcount == 0
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(f"UPDATE {table} SET tenant_id = %s", (theirs,))

    def test_without_a_tenant_there_are_no_rows(self, database, two_tenants, role, table):
        with psycopg.connect(getattr(database, role)) as connection:
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
            connection.execute("SELECT set_config('app.tenant_id', '', true)")
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)


class TestForeignKeys:
    def test_cannot_point_at_another_tenants_row(self, database):
        ours, theirs = database.add_tenant(), database.add_tenant()
        with psycopg.connect(database.admin) as connection:
            contact = connection.execute(
                "INSERT INTO contacts (tenant_id) VALUES (%s) RETURNING id", (theirs,)
            ).fetchone()[0]
        with psycopg.connect(database.app) as connection:
            connection.execute("SELECT set_config('app.tenant_id', %s, true)", (str(ours),))
            with pytest.raises(psycopg.errors.ForeignKeyViolation):
                connection.execute(
                    "INSERT INTO contact_identities (tenant_id, contact_id, kind, value) VALUES (%s, %s, 'phone', 'x')",
                    (ours, contact),
                )


class TestSessions:
    def test_without_a_tenant_a_transaction_does_not_begin(self, database):
        door = Database(database.app)
        with door._sessions() as session, pytest.raises(TenantMissing):
            session.execute(sa.text("SELECT 1"))
        door.dispose()

    def test_the_tenant_does_not_stay_on_the_pooled_connection(self, database):
        door = Database(database.app, pool_size=1)
        with door.tenant(database.add_tenant()) as session:
            assert session.scalar(sa.text("SELECT count(*) FROM tenants")) == 1
        with door.no_tenant() as session:
            assert session.scalar(sa.text("SELECT count(*) FROM tenants")) == 0
        door.dispose()


class TestMigrations:
    def test_the_schema_is_what_the_models_say(self, database):
        with sa.create_engine(sqlalchemy_url(database.admin)).connect() as connection:
            assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []


class TestOtherSessions:
    def test_a_librarys_own_database_in_the_same_process_is_left_alone(self):
        with sa.orm.Session(sa.create_engine("sqlite://")) as session:
            assert session.scalar(sa.text("SELECT 1")) == 1
