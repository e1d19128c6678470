"""Walks the catalog of schema `marts`, as published: whatever table is there, a tenant sees its own rows only."""

from __future__ import annotations

import datetime as dt
import uuid

import psycopg
import pyarrow as pa
import pytest

TABLES = ("a_mart", "b_mart", "publication_notes", "publications")
RULE = "(tenant_id = (NULLIF(current_setting('app.tenant_id'::text, true), ''::text))::uuid)"


def in_catalog(database, query):
    with psycopg.connect(database.admin) as connection:
        return connection.execute(query).fetchall()


@pytest.fixture(scope="module", autouse=True)
def published(publisher_url, tenants):
    """Twice, so that tables both came and went."""
    from serving.publication.service import publish_marts

    now = dt.datetime(2026, 3, 10, tzinfo=dt.UTC)
    table = pa.table({"tenant_id": [str(tenant) for tenant in tenants for _ in range(2)], "amount": [1, 2, 3, 4]})
    for snapshot in ("s1", "s2"):
        publish_marts(publisher_url, {name: table.to_reader() for name in ("a_mart", "b_mart")}, snapshot, now, now)


class TestEveryTable:
    def test_is_one_of_those_tested_here(self, database):
        found = in_catalog(
            database,
            "SELECT relname FROM pg_class WHERE relnamespace = 'marts'::regnamespace AND relkind NOT IN ('i', 't')",
        )
        assert sorted(name for (name,) in found) == sorted(TABLES)

    def test_has_row_level_security_enabled_and_forced(self, database):
        loose = in_catalog(
            database,
            "SELECT relname FROM pg_class WHERE relnamespace = 'marts'::regnamespace AND relkind = 'r'"
            " AND NOT (relrowsecurity AND relforcerowsecurity)",
        )
        assert loose == []

    def test_has_the_tenants_policy_and_no_other(self, database):
        policies = in_catalog(
            database,
            "SELECT tablename, policyname, permissive, roles::text, cmd, qual, with_check FROM pg_policies"
            " WHERE schemaname = 'marts' ORDER BY tablename",
        )
        assert [policy[:5] for policy in policies] == [
            (name, "tenant_isolation", "PERMISSIVE", "{public}", "ALL") for name in TABLES
        ]
        assert [(qual, check) for *_, qual, check in policies[:3]] == [(RULE, None)] * 3
        # It names no tenant's rows: which snapshot serves is the same for all, and for nobody without a tenant.
        assert policies[3][5] == "((NULLIF(current_setting('app.tenant_id'::text, true), ''::text))::uuid IS NOT NULL)"

    def test_belongs_to_the_publisher_and_is_read_only_for_the_rest(self, database):
        owners = in_catalog(
            database,
            "SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class WHERE relnamespace = 'marts'::regnamespace",
        )
        assert owners == [("publisher",)]
        rights = in_catalog(
            database,
            "SELECT DISTINCT grantee, privilege_type FROM information_schema.table_privileges"
            " WHERE table_schema = 'marts' AND grantee <> 'publisher' ORDER BY 1",
        )
        assert rights == [("app", "SELECT"), ("worker", "SELECT")]

    def test_no_view_no_function_stands_beside_it(self, database):
        assert in_catalog(database, "SELECT proname FROM pg_proc WHERE pronamespace = 'marts'::regnamespace") == []


class TestPublisher:
    def test_neither_bypasses_nor_reads_what_people_wrote(self, database, publisher_url):
        roles = in_catalog(database, "SELECT rolsuper, rolbypassrls FROM pg_roles WHERE rolname = 'publisher'")
        assert roles == [(False, False)]
        with psycopg.connect(publisher_url) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SELECT * FROM public.messages")

    def test_sees_no_row_of_a_finished_table_itself(self, publisher_url):
        with psycopg.connect(publisher_url) as connection:
            assert connection.execute("SELECT count(*) FROM marts.a_mart").fetchone() == (0,)


@pytest.mark.parametrize("role", ["app", "worker"])
@pytest.mark.parametrize("table", ["a_mart", "b_mart"])
class TestReadingRoles:
    def test_see_their_tenants_rows_only(self, seen, tenants, role, table):
        ours, theirs = tenants
        assert seen(f"SELECT DISTINCT tenant_id FROM marts.{table}", ours, role) == [(ours,)]
        assert seen(f"SELECT count(*) FROM marts.{table} WHERE tenant_id = '{theirs}'", ours, role) == [(0,)]
        assert seen(f"SELECT sum(amount)::int FROM marts.{table}", theirs, role) == [(7,)]

    def test_see_nothing_as_a_stranger_or_without_a_tenant(self, seen, role, table):
        assert seen(f"SELECT count(*) FROM marts.{table}", uuid.uuid4(), role) == [(0,)]
        assert seen(f"SELECT count(*) FROM marts.{table}", None, role) == [(0,)]

    def test_cannot_write(self, seen, tenants, role, table):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            seen(f"DELETE FROM marts.{table} RETURNING 1", tenants[0], role)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            seen("CREATE TABLE marts.mine (x int)", tenants[0], role)
