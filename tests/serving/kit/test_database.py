"""What an error of the database says, where it may be read for longer than a person is remembered."""

from __future__ import annotations

import logging
import traceback

import pytest
import sqlalchemy as sa

from serving.kit.database import Database

PHONE, NAME = "+999400000099", "Grace Hopper"


@pytest.fixture
def door(database):
    door = Database(database.app)
    yield door
    door.dispose()


class TestErrors:
    @pytest.mark.parametrize(
        "statement",
        [
            "INSERT INTO contacts (tenant_id, phone, name) VALUES (:tenant, :phone, :name), (:tenant, :phone, :name)",
            "INSERT INTO contacts (tenant_id, phone, name, priority) VALUES (:tenant, :phone, :name, 'none')",
            "SELECT CAST(CAST(:phone AS text) || CAST(:name AS text) || CAST(:tenant AS text) AS uuid)",
            "SELECT CAST('{' || CAST(:phone AS text) || CAST(:name AS text) || CAST(:tenant AS text) AS jsonb)",
        ],
    )
    def test_say_what_is_wrong_and_of_nobody_what(self, database, door, statement, caplog):
        tenant = database.add_tenant()
        with pytest.raises(sa.exc.DBAPIError) as raised, door.tenant(tenant) as session:
            session.execute(sa.text(statement), {"tenant": tenant, "phone": PHONE, "name": NAME})
        told = "".join(traceback.format_exception(raised.value)) + str(raised.value)
        assert PHONE not in told
        assert NAME not in told
        assert "psycopg.errors." in told
        assert logging.getLogger("sqlalchemy").level <= logging.WARNING
