"""The newest features of a tenant's contacts, from the warehouse into the online store."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from feature_store.feature_services import FeatureService
from feature_store.feature_views import MOMENTS, NUMBERS
from feature_store.on_demand import MISSING_MOMENT, ON_DEMAND
from feature_store.online import contact_key, pack, snapshot_id, timezone_key
from feature_store.retrieval import historical_features
from feature_store.warehouse import DuckDBWarehouse, Warehouse, as_frame

if TYPE_CHECKING:
    import polars as pl

# Rows nobody refreshed for so long are not offered to a model any more.
EXPIRY = dt.timedelta(days=8)
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
CONTACTS_A_BATCH = 20_000
EVERYTHING = FeatureService("everything", features=NUMBERS, on_demand=tuple(ON_DEMAND))


@dataclass(frozen=True)
class MaterializedSnapshot:
    """`snapshot_id` is what a decision cites; `contacts` the number of rows written."""

    snapshot_id: str
    contacts: int


def materialize(warehouse: Warehouse, redis_url: str, tenant_id: str, now: dt.datetime) -> MaterializedSnapshot:
    """Every contact's row as of `now` (UTC), the same values retrieval gives offline. Each row is replaced whole; a
    contact that is gone keeps its last row until it expires."""
    import polars as pl
    import redis

    at = now.astimezone(dt.UTC)
    moment = (at - EPOCH) // dt.timedelta(microseconds=1)
    written = 0
    assert isinstance(warehouse, DuckDBWarehouse)  # noqa: S101 - retrieval is DuckDB's
    with warehouse.connect() as connection, redis.Redis.from_url(redis_url) as client:
        contacts = as_frame(
            connection,
            "SELECT tenant_id, contact_id FROM marts.dim_contacts WHERE tenant_id = $1 ORDER BY contact_id",
            [tenant_id],
        )
        zone = as_frame(connection, "SELECT timezone FROM marts.dim_tenants WHERE tenant_id = $1", [tenant_id])
        client.set(timezone_key(tenant_id), zone["timezone"][0] if zone.height else "UTC")
        spine = contacts.with_columns(pl.lit(at).cast(pl.Datetime("us", "UTC")).alias("event_timestamp"))
        for part in spine.iter_slices(CONTACTS_A_BATCH):
            known = historical_features(connection, part, EVERYTHING)
            rows = pack(moment, _numbers(known), _moments(known), known["contact_attributes"].to_list())
            with client.pipeline(transaction=False) as pipeline:
                for contact_id, row in zip(known["contact_id"], rows, strict=True):
                    pipeline.set(contact_key(tenant_id, contact_id), row, ex=EXPIRY)
                pipeline.execute()
            written += len(rows)
    return MaterializedSnapshot(snapshot_id(moment), written)


def _numbers(known: pl.DataFrame) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    import polars as pl

    return known.select(pl.col(name).cast(pl.Float32).fill_null(float("nan")) for name in NUMBERS).to_numpy()


def _moments(known: pl.DataFrame) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    import polars as pl

    micros = pl.Datetime("us", "UTC")
    return known.select(
        pl.col(name).cast(micros).cast(pl.Int64).fill_null(MISSING_MOMENT) for name in MOMENTS
    ).to_numpy()
