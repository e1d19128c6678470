"""The online store: one packed row a contact in Redis, with the same values retrieval gives offline.

| key of a tenant `features:{tenant}:…` | holds |
|---|---|
| `contact:v{schema}:{contact}` | the packed row (`packing`) |
| `timezone` | the tenant's zone |
| `schemas` | hash: schema → its layout and when it was last written |
| `members` | hash: part of a snapshot → the contacts it wrote, a line each |
| `forgotten` | set of erased contacts that a materialisation from older rows must not bring back |

A changed list of features is another schema. Its readers find no row of their own before the next materialisation,
and read the newest older schema's instead: what both know, the rest missing. The writer leaves older rows to expire, so
that processes not yet restarted go on.
"""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from feature_store.feature_services import FeatureService
from feature_store.packing import CURRENT, Layout, PackedAttributes

if TYPE_CHECKING:
    import redis
    import redis.asyncio

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
MICROSECOND = dt.timedelta(microseconds=1)
# Rows nobody refreshed for so long are not offered to a model any more.
EXPIRY = dt.timedelta(days=8)
# Features are made every day; a row older than this missed at least one run.
STALE_AFTER = dt.timedelta(days=2)
SCHEMA = CURRENT.schema
pack = CURRENT.pack
_KEYS_A_COMMAND = 5_000


@dataclass(frozen=True)
class OnlineFeatures:
    """Features of n contacts, in the order asked. `matrix` is (n, len(names)) float32, NaN where missing; `moments` is
    (n, len(moment_names)) microseconds since the epoch, the least int64 where missing. `found` tells which contacts are
    in the store; `snapshot_id` names the oldest snapshot read, "" when none was found."""

    names: tuple[str, ...]
    matrix: NDArray[np.float32]
    found: NDArray[np.bool_]
    snapshot_id: str
    moment_names: tuple[str, ...]
    moments: NDArray[np.int64]
    attributes: Sequence[Mapping[str, Any]]
    timezone: str
    snapshots: NDArray[np.int64]

    def stale(self, at: dt.datetime, after: dt.timedelta = STALE_AFTER) -> NDArray[np.bool_]:
        """Which rows are missing at `at` (UTC), or were written longer than `after` before it."""
        old: NDArray[np.bool_] = self.snapshots < (at - after - EPOCH) // MICROSECOND
        return old | ~self.found


def contact_key(tenant_id: uuid.UUID | str, contact_id: uuid.UUID | str, schema: str = SCHEMA) -> str:
    return f"features:{tenant_id}:contact:v{schema}:{contact_id}"


def timezone_key(tenant_id: uuid.UUID | str) -> str:
    return f"features:{tenant_id}:timezone"


def schemas_key(tenant_id: uuid.UUID | str) -> str:
    return f"features:{tenant_id}:schemas"


def members_key(tenant_id: uuid.UUID | str) -> str:
    return f"features:{tenant_id}:members"


def forgotten_key(tenant_id: uuid.UUID | str) -> str:
    return f"features:{tenant_id}:forgotten"


def snapshot_id(at_microseconds: int) -> str:
    """The name of the snapshot materialised at this moment, e.g. 20260102T030405.000000Z."""
    return (EPOCH + dt.timedelta(microseconds=at_microseconds)).strftime("%Y%m%dT%H%M%S.%fZ")


def get_online_features(
    client: redis.Redis,
    tenant_id: uuid.UUID | str,
    contact_ids: Sequence[uuid.UUID | str],
    service: FeatureService,
    layout: Layout = CURRENT,
) -> OnlineFeatures:
    """What the last materialisation knew about each contact: one round trip where all are found. `client` must not
    decode responses."""
    reading = _reading(tenant_id, contact_ids, layout)
    command = next(reading)
    while True:
        try:
            command = reading.send(client.execute_command(*command))  # type: ignore[no-untyped-call]
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]


async def get_online_features_async(
    client: redis.asyncio.Redis,
    tenant_id: uuid.UUID | str,
    contact_ids: Sequence[uuid.UUID | str],
    service: FeatureService,
    layout: Layout = CURRENT,
) -> OnlineFeatures:
    """`get_online_features` for an event loop."""
    reading = _reading(tenant_id, contact_ids, layout)
    command = next(reading)
    while True:
        try:
            command = reading.send(await client.execute_command(*command))  # type: ignore[no-untyped-call]
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]


def unpack(values: Sequence[bytes | None], service: FeatureService, timezone: str) -> OnlineFeatures:
    """The rows behind the values of `contact_key`, None for a contact without one; for callers with a client."""
    return _features(CURRENT, CURRENT.unpack(values), values, [CURRENT.size] * len(values), timezone)


def forget(client: redis.Redis, tenant_id: uuid.UUID | str, contact_ids: Iterable[uuid.UUID | str]) -> int:
    """Removes the contacts' rows of every schema, and answers how many there were. A materialisation from rows that
    still hold them, within EXPIRY, does not bring them back: call it once the erasure is committed."""
    erased = [str(contact_id) for contact_id in contact_ids]
    if not erased:
        return 0
    key = forgotten_key(tenant_id)
    with client.pipeline(transaction=True) as pipeline:
        pipeline.sadd(key, *erased)
        pipeline.expire(key, EXPIRY)
        pipeline.execute()
    return remove(client, tenant_id, erased)


def remove(client: redis.Redis, tenant_id: uuid.UUID | str, contact_ids: Iterable[str]) -> int:
    """As `forget`, of contacts that may come back."""
    known: list[bytes] = client.hkeys(schemas_key(tenant_id))  # type: ignore[assignment]
    schemas = {SCHEMA, *(schema.decode() for schema in known)}
    keys = (contact_key(tenant_id, contact_id, schema) for contact_id in contact_ids for schema in schemas)
    removed = 0
    while part := list(islice(keys, _KEYS_A_COMMAND)):
        removed += client.unlink(*part)
    return removed


_Command = tuple[str, ...]


def _reading(
    tenant_id: uuid.UUID | str, contact_ids: Sequence[uuid.UUID | str], layout: Layout
) -> Generator[_Command, Any, OnlineFeatures]:
    """Yields the commands to send, is sent their answers, returns the features."""
    prefix = contact_key(tenant_id, "", layout.schema)
    answers = yield ("MGET", timezone_key(tenant_id), *[f"{prefix}{contact_id}" for contact_id in contact_ids])
    values: list[bytes | None] = answers[1:]
    rows, sizes = layout.unpack(values), [layout.size] * len(values)
    if None in values:
        stored: Mapping[bytes, bytes] = yield ("HGETALL", schemas_key(tenant_id))
        rows = rows.copy()
        for older in _older(stored, layout):
            missing = [position for position, value in enumerate(values) if value is None]
            if not missing:
                break
            asked = [contact_key(tenant_id, contact_ids[position], older.schema) for position in missing]
            found: list[bytes | None] = yield ("MGET", *asked)
            rows[missing] = older.read_as(layout, older.unpack(found))
            for position, value in zip(missing, found, strict=True):
                values[position], sizes[position] = value, older.size
    return _features(layout, rows, values, sizes, (answers[0] or b"UTC").decode())


def _older(stored: Mapping[bytes, bytes], layout: Layout) -> list[Layout]:
    """The tenant's other layouts, the last written first."""
    described = sorted((json.loads(value) for value in stored.values()), key=lambda one: -int(one["written_at"]))
    layouts = (Layout.from_json(one) for one in described)
    return [older for older in layouts if older != layout]


def _features(
    layout: Layout, rows: NDArray[np.void], values: Sequence[bytes | None], sizes: Sequence[int], timezone: str
) -> OnlineFeatures:
    found = np.array([value is not None for value in values], np.bool_)
    snapshots = rows["snapshot_at"]
    return OnlineFeatures(
        names=layout.numbers,
        matrix=rows["numbers"],
        found=found,
        snapshot_id=snapshot_id(int(snapshots[found].min())) if found.any() else "",
        moment_names=layout.moments,
        moments=rows["moments"],
        attributes=PackedAttributes(values, sizes),
        timezone=timezone,
        snapshots=snapshots,
    )
