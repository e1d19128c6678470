from __future__ import annotations

import psycopg
import pytest

from serving.errors import Unprocessable
from serving.tenant.service import TenantExists, create_tenant


class TestCreateTenant:
    def test_a_number_to_send_from_belongs_to_the_tenant(self, database):
        made = create_tenant(
            database.admin, "with-number", "Shop", "a@shop.example", phone="+999100000007", provider_number_id="100007"
        )
        with psycopg.connect(database.admin) as connection:
            row = connection.execute(
                "SELECT tenant_id, phone FROM phone_numbers WHERE id = %s", (made.phone_number_id,)
            ).fetchone()
        assert row == (made.tenant_id, "+999100000007")

    def test_a_known_person_keeps_the_password_and_joins_the_new_tenant(self, database):
        first = create_tenant(database.admin, "one", "One", "Both@Example.com")
        second = create_tenant(database.admin, "two", "Two", "both@example.com", password="not taken over")
        assert first.user_id == second.user_id
        assert first.password is not None
        assert second.password is None
        with psycopg.connect(database.admin) as connection:
            (hashes,) = connection.execute(
                "SELECT array_agg(password_hash) FROM users WHERE email = 'both@example.com'"
            ).fetchone()
        assert len(hashes) == 1

    def test_a_taken_slug_leaves_nothing_behind(self, database):
        create_tenant(database.admin, "taken", "First", "first@example.com")
        with pytest.raises(TenantExists, match="a tenant of this slug exists"):
            create_tenant(database.admin, "taken", "Second", "second@example.com")
        with psycopg.connect(database.admin) as connection:
            found = connection.execute("SELECT id FROM users WHERE email = 'second@example.com'").fetchall()
        assert found == []

    @pytest.mark.parametrize(
        ("field", "values"),
        [
            ("slug", {"slug": "Not A Slug"}),
            ("timezone", {"timezone": "Mars/Olympus"}),
            ("phone", {"phone": "0151", "provider_number_id": "1"}),
            ("provider_number_id", {"phone": "+999100000008"}),
        ],
    )
    def test_what_is_not_acceptable_is_named(self, database, field, values):
        given = {"slug": "fine", "name": "Fine", "admin_email": "fine@example.com"} | values
        with pytest.raises(Unprocessable) as refused:
            create_tenant(database.admin, **given)
        assert [error["field"] for error in refused.value.fields["errors"]] == [field]
