"""What scores are for: the segments marketers aim campaigns at."""

import datetime as dt
import os
import uuid

import dagster as dg

from orchestration.lib.partitions import tenant_of, tenants
from orchestration.lib.retrying import transient_errors_retried

SEGMENT = "Likely buyers"
TOP_FRACTION = 0.3


@dg.asset(
    key=["segments", "likely_buyers"],
    deps=[["scores", "lead_scoring"]],
    partitions_def=tenants,
    group_name="activation",
    kinds={"postgres"},
    owners=["team:data"],
    description=f"The {TOP_FRACTION:.0%} of a tenant's contacts whose lead score is highest.",
)
def likely_buyers(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
    from serving.kit.database import Database
    from serving.segment import service

    now = dt.datetime.now(dt.UTC)
    database = Database(os.environ["SERVING_WORKER_DATABASE_URL"])
    try:
        with (
            transient_errors_retried(context),
            database.tenant(uuid.UUID(tenant_of(context.partition_key).tenant_id)) as session,
        ):
            existing = service.find(session, SEGMENT)
            if existing is None:
                segment = service.create_scored(session, SEGMENT, "lead_scoring", top_fraction=TOP_FRACTION, now=now)
            else:
                segment = service.refresh_scored(session, existing.id, now)
            return dg.MaterializeResult(metadata={"rows": segment.member_count, "segment_id": str(segment.id)})
    finally:
        database.dispose()
