"""The newest features of a tenant's contacts, from the warehouse into the online store."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from feature_store.as_of import as_of_everybody
from feature_store.feature_services import FeatureService
from feature_store.feature_views import NUMBERS
from feature_store.on_demand import MISSING_MOMENT, ON_DEMAND
from feature_store.online import (
    EPOCH,
    EXPIRY,
    MICROSECOND,
    contact_key,
    forgotten_key,
    members_key,
    remove,
    schemas_key,
    snapshot_id,
    timezone_key,
)
from feature_store.online_writer import OnlineWriter
from feature_store.packing import CURRENT, Layout
from feature_store.sessions import Session, literal, open_session
from feature_store.warehouse import Warehouse

if TYPE_CHECKING:
    import pyarrow as pa
    import redis

CONTACTS_A_BATCH = 20_000
PARTS_A_LOOK = 10
EVERYTHING = FeatureService("everything", features=NUMBERS, on_demand=tuple(ON_DEMAND))


@dataclass(frozen=True)
class MaterializedSnapshot:
    """`snapshot_id` is what a decision cites; `contacts` the number of rows written, `removed` of those taken out
    because their contact is gone."""

    snapshot_id: str
    contacts: int
    removed: int = 0


def materialize(
    warehouse: Warehouse, redis_url: str, tenant_id: str, now: dt.datetime, layout: Layout = CURRENT
) -> MaterializedSnapshot:
    """Every contact's row as of `now` (UTC), the same values retrieval gives offline. Each row is replaced whole and
    expires when no later run replaces it; the rows of contacts the warehouse no longer holds, or that were forgotten,
    are removed. Memory is bounded by a batch. A run that was stopped is simply done again."""
    import redis

    at = now.astimezone(dt.UTC)
    moment = (at - EPOCH) // MICROSECOND
    with open_session(warehouse) as session, redis.Redis.from_url(redis_url) as client:
        earlier: list[bytes] = client.hkeys(members_key(tenant_id))
        run = 1 + max((int(part.split(b":")[0]) for part in earlier), default=0)
        _announce(client, _timezone(session, tenant_id), tenant_id, moment, layout)
        with OnlineWriter(client, int(EXPIRY.total_seconds())) as writer:
            query = as_of_everybody(session.dialect, EVERYTHING.views(), at, tenant_id)
            prefix = contact_key(tenant_id, "", layout.schema)
            for number, batch in enumerate(session.batches(query, CONTACTS_A_BATCH)):
                known = _without(batch, _forgotten(client, tenant_id))
                contacts = known["contact_id"].to_pylist()
                client.hset(members_key(tenant_id), f"{run}:{number}", "\n".join(contacts))
                keys = [f"{prefix}{contact_id}".encode() for contact_id in contacts]
                writer.write(keys, _packed(layout, moment, known))
        removed = _remove_gone(client, session, tenant_id, earlier)
        # Whoever was forgotten while their batch was on its way.
        remove(client, tenant_id, _forgotten(client, tenant_id))
        client.expire(members_key(tenant_id), EXPIRY)
    return MaterializedSnapshot(snapshot_id(moment), writer.written, removed)


def _timezone(session: Session, tenant_id: str) -> str:
    zones = session.table(f"SELECT timezone FROM marts.dim_tenants WHERE tenant_id = {literal(tenant_id)}")
    return str(zones["timezone"][0]) if zones.num_rows else "UTC"


def _announce(client: redis.Redis, timezone: str, tenant_id: str, moment: int, layout: Layout) -> None:
    """Tells readers the tenant's zone, and those of other schemas that this one has rows."""
    key = schemas_key(tenant_id)
    expired = moment - EXPIRY // MICROSECOND
    stored: dict[bytes, bytes] = client.hgetall(key)  # type: ignore[assignment]
    with client.pipeline(transaction=True) as pipeline:
        pipeline.set(timezone_key(tenant_id), timezone, ex=EXPIRY)
        for schema, described in stored.items():
            if json.loads(described)["written_at"] < expired:
                pipeline.hdel(key, schema)
        pipeline.hset(key, layout.schema, json.dumps(layout.to_json() | {"written_at": moment}))
        pipeline.expire(key, EXPIRY)
        pipeline.execute()


def _forgotten(client: redis.Redis, tenant_id: str) -> list[str]:
    erased: set[bytes] = client.smembers(forgotten_key(tenant_id))  # type: ignore[assignment]
    return sorted(contact.decode() for contact in erased)


def _without(batch: pa.RecordBatch, contacts: list[str]) -> pa.RecordBatch:
    import pyarrow as pa
    import pyarrow.compute as pc

    if not contacts:
        return batch
    return batch.filter(pc.invert(pc.is_in(batch["contact_id"], pa.array(contacts, batch["contact_id"].type))))


def _packed(layout: Layout, moment: int, known: pa.RecordBatch) -> list[bytes]:
    import pyarrow as pa

    numbers = np.empty((known.num_rows, len(layout.numbers)), np.float32)
    for position, name in enumerate(layout.numbers):
        numbers[:, position] = known[name].fill_null(float("nan")).to_numpy(zero_copy_only=False)
    moments: NDArray[np.int64] = np.empty((known.num_rows, len(layout.moments)), np.int64)
    for position, name in enumerate(layout.moments):
        micros = known[name].cast(pa.timestamp("us", "UTC")).cast(pa.int64())
        moments[:, position] = micros.fill_null(int(MISSING_MOMENT)).to_numpy(zero_copy_only=False)
    return layout.pack(moment, numbers, moments, known["contact_attributes"].to_pylist())


def _remove_gone(client: redis.Redis, session: Session, tenant_id: str, earlier: list[bytes]) -> int:
    """Takes out the rows of contacts that earlier runs wrote and the warehouse no longer holds."""
    import pyarrow as pa

    removed = 0
    for start in range(0, len(earlier), PARTS_A_LOOK):
        parts = earlier[start : start + PARTS_A_LOOK]
        written: list[bytes | None] = client.hmget(members_key(tenant_id), parts)  # type: ignore[assignment]
        contacts = [contact for part in written if part for contact in part.decode().split("\n")]
        session.put("members", pa.table({"contact_id": pa.array(contacts, pa.string())}))
        gone = session.table(
            "SELECT contact_id FROM members WHERE NOT EXISTS (SELECT 1 FROM marts.dim_contacts AS contact"
            f" WHERE contact.tenant_id = {literal(tenant_id)} AND contact.contact_id = members.contact_id)"
        )
        removed += remove(client, tenant_id, gone["contact_id"].to_pylist())
        client.hdel(members_key(tenant_id), *parts)
    return removed
