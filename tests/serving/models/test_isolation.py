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
        given = parameters[0] if len(parameters) == 1 and isinstance(parameters[0], dict) else parameters
        return connection.execute(query, given).fetchall()


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


OPERATORS_ALONE = ("users", "tenant_users", "phone_numbers", "tenants")
ROLES = ("app", "worker", "etl_read", "publisher")


class TestRights:
    """What no route and no worker does, no session of theirs may do either."""

    @pytest.fixture
    def stranger(self, database):
        """A person of another tenant than the one that asks."""
        theirs = database.add_tenant()
        with psycopg.connect(database.admin) as connection:
            user = connection.execute(
                "INSERT INTO users (username, email, password_hash) VALUES (%(n)s, %(n)s, 'a-hash') RETURNING id",
                {"n": f"{uuid.uuid4().hex}@example.com"},
            ).fetchone()[0]
            connection.execute(
                "INSERT INTO tenant_users (tenant_id, user_id, role) VALUES (%s, %s, 'admin')", (theirs, user)
            )
        return user

    @pytest.mark.parametrize("role", ["app", "worker"])
    def test_a_tenant_takes_in_no_person_of_another(self, database, stranger, role):
        ours = database.add_tenant()
        with psycopg.connect(getattr(database, role)) as connection:
            connection.execute("SELECT set_config('app.tenant_id', %s, false)", (str(ours),))
            connection.commit()
            for statement in (
                "INSERT INTO tenant_users (tenant_id, user_id, role) VALUES (%s, %s, 'sales')",
                "UPDATE tenant_users SET tenant_id = %s, user_id = %s",
                "UPDATE users SET username = %s WHERE id = %s",
            ):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(statement, (str(ours), stranger))
                connection.rollback()

    @pytest.mark.parametrize("role", ROLES)
    def test_a_password_is_read_by_the_look_up_of_the_login_alone(self, database, role):
        (may,) = in_catalog(
            database,
            "SELECT has_table_privilege(%(r)s, 'users', 'SELECT'),"
            " has_column_privilege(%(r)s, 'users', 'password_hash', 'SELECT'),"
            " has_any_column_privilege(%(r)s, 'users', 'INSERT, UPDATE, REFERENCES')",
            {"r": role},
        )
        assert may == (False, False, False)

    def test_members_of_a_tenant_are_known_to_it_without_their_password(self, database, stranger):
        with psycopg.connect(database.admin) as connection:
            (theirs,) = connection.execute(
                "SELECT tenant_id FROM tenant_users WHERE user_id = %s", (stranger,)
            ).fetchone()
        with psycopg.connect(database.app) as connection:
            connection.execute("SELECT set_config('app.tenant_id', %s, true)", (str(theirs),))
            assert connection.execute("SELECT id FROM users").fetchall() == [(stranger,)]

    @pytest.mark.parametrize("role", ROLES)
    @pytest.mark.parametrize("table", OPERATORS_ALONE)
    def test_what_only_an_operator_makes_nobody_else_makes(self, database, role, table):
        rights = in_catalog(
            database,
            "SELECT right_ FROM unnest(ARRAY['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER']) AS right_"
            " WHERE has_table_privilege(%s, %s, right_)",
            role,
            table,
        )
        assert rights == []

    @pytest.mark.parametrize(
        "column",
        ["tenants.id", "tenants.slug", "tenants.plan", "phone_numbers.provider_number_id", "phone_numbers.phone"],
    )
    def test_names_that_are_unique_in_the_world_are_the_operators(self, database, column):
        table, name = column.split(".")
        for role in ROLES:
            assert in_catalog(database, "SELECT has_column_privilege(%s, %s, %s, 'UPDATE')", role, table, name) == [
                (False,)
            ]

    def test_no_role_of_a_process_is_a_member_of_another(self, database):
        assert in_catalog(
            database,
            "SELECT m.rolname FROM pg_auth_members a JOIN pg_roles m ON m.oid = a.member WHERE m.rolname = ANY (%s)",
            list(ROLES),
        ) == []  # fmt: skip

    def test_who_reads_all_tenants_writes_to_none(self, database):
        """etl_read passes row-level security."""
        writable = in_catalog(
            database,
            "SELECT c.relname FROM pg_class c WHERE c.relnamespace IN ('public'::regnamespace, 'marts'::regnamespace)"
            " AND c.relkind = 'r' AND has_any_column_privilege('etl_read', c.oid, 'INSERT, UPDATE')",
        )
        assert writable == []

    def test_the_publisher_reads_nothing_of_the_operational_tables(self, database):
        readable = in_catalog(
            database,
            "SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'"
            " AND has_any_column_privilege('publisher', c.oid, 'SELECT, INSERT, UPDATE')",
        )
        assert readable == []


class TestDefiners:
    def test_are_called_by_the_processes_that_need_them_alone(self, database):
        callable_ = in_catalog(
            database,
            "SELECT p.proname, r.rolname FROM pg_proc p, pg_roles r WHERE p.pronamespace = 'public'::regnamespace"
            " AND p.prosecdef AND r.rolname IN ('etl_read', 'publisher')"
            " AND has_function_privilege(r.oid, p.oid, 'EXECUTE')",
        )
        assert callable_ == []

    def test_look_at_no_table_that_a_session_made_for_itself(self, database):
        loose = in_catalog(
            database,
            "SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND prosecdef"
            " AND NOT coalesce('search_path=pg_catalog, public, pg_temp' = ANY (proconfig), false)",
        )
        assert loose == []

    def test_run_no_trigger_of_a_session_with_their_rights(self, database):
        """A table of the session's own, named as the one a definer writes, with a trigger that reads what only the
        definer may."""
        ours = database.add_tenant()
        with psycopg.connect(database.app) as connection:
            connection.execute("SELECT set_config('app.tenant_id', %s, true)", (str(ours),))
            contact = connection.execute(
                "INSERT INTO contacts (tenant_id) VALUES (%s) RETURNING id", (ours,)
            ).fetchone()[0]
            connection.execute("""
                CREATE TEMP TABLE loot (who text);
                CREATE TEMP TABLE deleted_rows (tenant_id uuid, table_name text, row_id uuid, contact_id uuid);
                GRANT ALL ON loot, deleted_rows TO PUBLIC;
                CREATE FUNCTION pg_temp.steal() RETURNS trigger LANGUAGE plpgsql AS $$
                BEGIN INSERT INTO pg_temp.loot VALUES (current_user); RETURN NEW; END $$;
                CREATE TRIGGER steal BEFORE INSERT ON pg_temp.deleted_rows
                    FOR EACH ROW EXECUTE FUNCTION pg_temp.steal();
            """)
            connection.execute("DELETE FROM contacts WHERE id = %s", (contact,))
            assert connection.execute("SELECT who FROM loot").fetchall() == []
            found = connection.execute(
                "SELECT row_id FROM public.deleted_rows WHERE row_id = %s", (contact,)
            ).fetchall()
            assert found == [(contact,)]


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
