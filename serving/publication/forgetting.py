"""Taking erased people out of what serves, between two publications."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

import psycopg
from psycopg import sql

from serving.publication.notes import SCHEMA

_WITH_CONTACTS = """
    SELECT table_name, data_type FROM information_schema.columns
    WHERE table_schema = %s AND column_name = 'contact_id' ORDER BY table_name
"""


def forget_contacts(database_url: str, tenant_id: uuid.UUID, contact_ids: Sequence[uuid.UUID]) -> int:
    """How many published rows were about one of the tenant's contacts; they are gone. `database_url` is the operational
    database, as role `publisher`. Sums over many people stay until the next publication."""
    removed = 0
    with psycopg.connect(database_url, autocommit=True) as connection:
        tables = connection.execute(_WITH_CONTACTS, (SCHEMA,)).fetchall()
        with connection.transaction():
            connection.execute("SELECT set_config('app.tenant_id', %s, true)", (str(tenant_id),))
            for name, kind in tables:
                statement = sql.SQL("DELETE FROM {} WHERE contact_id = ANY (%s::{}[])").format(
                    sql.Identifier(SCHEMA, name), sql.SQL(kind)
                )
                removed += connection.execute(statement, ([str(contact) for contact in contact_ids],)).rowcount
        for name, _ in tables:
            connection.execute(sql.SQL("VACUUM (ANALYZE) {}").format(sql.Identifier(SCHEMA, name)))
    return removed
