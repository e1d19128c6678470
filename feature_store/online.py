"""The online store: one packed row a contact in Redis, with the same values retrieval gives offline.

Key `features:{tenant}:contact:v{schema}:{contact}`. Value: the fixed part of ROW (little-endian, no padding), then the
contact's attributes as JSON. The schema version is a digest of the layout, so a changed list of features never misreads
an old row: it does not find it.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from feature_store.feature_services import FeatureService
from feature_store.feature_views import MOMENTS, NUMBERS
from feature_store.on_demand import MISSING_MOMENT

if TYPE_CHECKING:
    import redis

ROW = np.dtype([("snapshot_at", "<i8"), ("moments", "<i8", (len(MOMENTS),)), ("numbers", "<f4", (len(NUMBERS),))])
SCHEMA = hashlib.sha256(json.dumps([MOMENTS, NUMBERS]).encode()).hexdigest()[:8]


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


def contact_key(tenant_id: uuid.UUID | str, contact_id: uuid.UUID | str) -> str:
    return f"features:{tenant_id}:contact:v{SCHEMA}:{contact_id}"


def timezone_key(tenant_id: uuid.UUID | str) -> str:
    return f"features:{tenant_id}:timezone"


def snapshot_id(at_microseconds: int) -> str:
    """The name of the snapshot materialised at this moment, e.g. 20260102T030405.000000Z."""
    at = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=at_microseconds)
    return at.strftime("%Y%m%dT%H%M%S.%fZ")


def get_online_features(
    client: redis.Redis, tenant_id: uuid.UUID | str, contact_ids: Sequence[uuid.UUID | str], service: FeatureService
) -> OnlineFeatures:
    """What the last materialisation knew about each contact, in one round trip. `client` must not decode responses."""
    keys = [timezone_key(tenant_id), *(contact_key(tenant_id, contact_id) for contact_id in contact_ids)]
    answers: list[bytes | None] = client.mget(keys)  # type: ignore[assignment]
    return unpack(answers[1:], service, (answers[0] or b"UTC").decode())


def unpack(values: Sequence[bytes | None], service: FeatureService, timezone: str) -> OnlineFeatures:
    """The rows behind the values of `contact_key`, None for a contact without one; for callers with a client."""
    rows = np.frombuffer(b"".join(value[: ROW.itemsize] if value else EMPTY for value in values), ROW)
    found = np.array([value is not None for value in values], np.bool_)
    attributes = [json.loads(value[ROW.itemsize :]) if value else {} for value in values]
    snapshots = rows["snapshot_at"][found]
    return OnlineFeatures(
        names=NUMBERS,
        matrix=rows["numbers"],
        found=found,
        snapshot_id=snapshot_id(int(snapshots.min())) if snapshots.size else "",
        moment_names=MOMENTS,
        moments=rows["moments"],
        attributes=attributes,
        timezone=timezone,
    )


def pack(
    snapshot_at: int, numbers: NDArray[np.float32], moments: NDArray[np.int64], attributes: Sequence[str | None]
) -> list[bytes]:
    """One value a contact, for `contact_key`."""
    rows = np.empty(numbers.shape[0], ROW)
    rows["snapshot_at"] = snapshot_at
    rows["numbers"] = numbers
    rows["moments"] = moments
    fixed, size = rows.tobytes(), ROW.itemsize
    return [fixed[i * size : (i + 1) * size] + (text or "{}").encode() for i, text in enumerate(attributes)]


def _empty() -> bytes:
    row = np.zeros((), ROW)
    row["numbers"] = np.nan
    row["moments"] = MISSING_MOMENT
    return row.tobytes()


EMPTY = _empty()
