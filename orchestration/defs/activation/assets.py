"""What scores are for: the segments marketers aim campaigns at."""

import datetime as dt
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import dagster as dg

from orchestration.defs.training.assets import MODEL_NAMES
from orchestration.lib.partitions import tenant_of, tenants
from orchestration.lib.retrying import transient_errors_retried

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

SEGMENT = "Likely buyers"
TOP_FRACTION = 0.3


@dg.asset(
    key=["segments", "likely_buyers"],
    deps=[["scores", "lead_scoring"]],
    partitions_def=tenants,
    group_name="activation",
    kinds={"postgres"},
    owners=["team:data"],
    description=f"The {TOP_FRACTION:.0%} of a tenant's contacts whose lead score is highest; a segment of its own that"
    " has this name stays what it is.",
)
def likely_buyers(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
    from serving.segment import service

    now = dt.datetime.now(dt.UTC)
    with _tenant(context) as session:
        segment = service.find(session, SEGMENT)
        if segment is None:
            segment = service.create_scored(session, SEGMENT, "lead_scoring", top_fraction=TOP_FRACTION, now=now)
        else:
            segment = service.refresh(session, segment.id, now)
        return dg.MaterializeResult(metadata={"rows": segment.member_count, "segment_id": str(segment.id)})


@dg.asset(
    key=["segments", "scored"],
    deps=[["scores", model] for model in MODEL_NAMES],
    partitions_def=tenants,
    group_name="activation",
    kinds={"postgres"},
    owners=["team:data"],
    description="Every scored segment a tenant has made, chosen anew from the newest scores.",
)
def scored_segments(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
    from serving.segment import service

    with _tenant(context) as session:
        found = service.refresh_every_scored(session, dt.datetime.now(dt.UTC))
        members = {segment.name: segment.member_count for segment in found}
    return dg.MaterializeResult(metadata={"rows": sum(members.values()), "members": members})


@contextmanager
def _tenant(context: dg.AssetExecutionContext) -> "Iterator[Session]":
    """A session of the partition's tenant, committed at the end."""
    from serving.kit.database import Database

    database = Database(os.environ["SERVING_WORKER_DATABASE_URL"])
    try:
        with (
            transient_errors_retried(context),
            database.tenant(uuid.UUID(tenant_of(context.partition_key).tenant_id)) as session,
        ):
            yield session
    finally:
        database.dispose()
