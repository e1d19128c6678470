"""The books of what is still to be purged of erased people, for whoever purges it."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

import psycopg
from psycopg import sql

_MAINTAINED = """
    SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
      AND has_table_privilege(oid, 'MAINTAIN') ORDER BY relname
"""
_CLEAR_EMPTY = """
    SELECT pg_clear_attribute_stats('public', c.relname, a.attname, false)
    FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND c.reltuples = 0
      AND has_table_privilege(c.oid, 'MAINTAIN')
"""


@dataclass(frozen=True, slots=True)
class Unpurged:
    """The people of one tenant who were erased and may still be known outside the operational database."""

    tenant_id: uuid.UUID
    slug: str
    contact_ids: tuple[uuid.UUID, ...]


def unpurged(operational_url: str) -> list[Unpurged]:
    """One entry a tenant that has any, by slug. `operational_url` enters as `etl_read`."""
    with psycopg.connect(operational_url) as connection:
        rows = connection.execute(
            "SELECT t.id, t.slug, array_agg(e.contact_id ORDER BY e.contact_id) FROM erasures AS e"
            " JOIN tenants AS t ON t.id = e.tenant_id WHERE e.purged_at IS NULL GROUP BY t.id, t.slug ORDER BY t.slug"
        ).fetchall()
    return [Unpurged(tenant, slug, tuple(contacts)) for tenant, slug, contacts in rows]


def tidy(worker_url: str) -> None:
    """Vacuums and samples anew every operational table: the dead rows of those who were erased go, and what they lent
    to the planner's statistics. `worker_url` enters as `worker`. Waits for nobody who reads or writes rows."""
    with psycopg.connect(worker_url, autocommit=True) as connection:
        tables = connection.execute(_MAINTAINED).fetchall()
        for (table,) in tables:
            connection.execute(sql.SQL("VACUUM (ANALYZE) {}").format(sql.Identifier("public", table)))
        # Of an empty table PostgreSQL keeps the samples it has.
        connection.execute(_CLEAR_EMPTY)


def mark_purged(worker_url: str, tenant_id: uuid.UUID, contact_ids: Sequence[uuid.UUID], now: dt.datetime) -> None:
    """Tells whoever asks that nothing is left. `worker_url` enters as `worker`."""
    with psycopg.connect(worker_url) as connection:
        connection.execute("SELECT set_config('app.tenant_id', %s, true)", (str(tenant_id),))
        connection.execute(
            "UPDATE erasures SET purged_at = %s WHERE purged_at IS NULL AND contact_id = ANY (%s)",
            (now, list(contact_ids)),
        )
