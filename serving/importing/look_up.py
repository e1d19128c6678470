"""Which rows of earlier imports an import refers to."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

import pyarrow as pa
import sqlalchemy as sa

from serving.importing.validate import row_id
from serving.kit.database import Database

_QUERIES = {
    "contacts": "SELECT value, contact_id FROM contact_identities WHERE kind = 'external' AND value = ANY(:keys)",
    "campaigns": "SELECT external_id, id FROM campaigns WHERE external_id = ANY(:keys)",
    "messages": "SELECT CAST(id AS text), id FROM messages WHERE id = ANY(CAST(:keys AS uuid[]))",
}


def look_up(database: Database, tenant_id: uuid.UUID, source: str, table: str, external_ids: Sequence[str]) -> pa.Table:
    """(external_id, id as 32 hex digits) of those rows of this source that the tenant holds already."""
    if table == "messages":
        keys = {str(row_id(f"{tenant_id}/{source}", table, external_id)): external_id for external_id in external_ids}
    else:
        keys = {f"{source}:{external_id}": external_id for external_id in external_ids}
    with database.tenant(tenant_id) as session:
        rows = session.execute(sa.text(_QUERIES[table]), {"keys": list(keys)}).tuples().all()
    return pa.table(
        {"external_id": pa.array([keys[key] for key, _ in rows], pa.string()),
         "id": pa.array([found.hex for _, found in rows], pa.string())}
    )  # fmt: skip
