"""A day of the operational tables read once more, whatever the warehouse has of it."""

import datetime as dt
from typing import Any

import dagster as dg

from feature_store.settings import settings
from feature_store.warehouse import warehouse_at
from orchestration.lib.retrying import transient_errors_retried
from orchestration.lib.writing import PATIENCE_SECONDS, only_writer
from orchestration.runtime.home import Home

FIRST_DAY = "2020-01-01"

days = dg.DailyPartitionsDefinition(start_date=FIRST_DAY, timezone="UTC", end_offset=1)


class BackfillConfig(dg.Config):
    """`tables`: those to read; all that have days when empty."""

    tables: list[str] = []


@dg.op(pool="warehouse", description="Ingests what happened on one UTC day again; rows the warehouse has stay as one.")
def ingested_day(context: dg.OpExecutionContext, config: BackfillConfig) -> None:
    from feature_store.ingest_backfill import ingest_day

    configured, day = settings(), dt.date.fromisoformat(context.partition_key)
    with transient_errors_retried(context), only_writer(Home.from_environment(), PATIENCE_SECONDS):
        ingested = ingest_day(
            configured.operational_url,
            warehouse_at(configured.warehouse),
            day,
            dt.datetime.now(dt.UTC),
            config.tables or None,
        )
    for table, (added, removed) in ingested.items():
        if added or removed:
            changed: dict[str, Any] = {"day": day.isoformat(), "rows_added": added, "rows_removed": removed}
            context.log_event(dg.AssetObservation(["raw", table], metadata=changed))


@dg.job(
    partitions_def=days,
    description="One UTC day of the operational tables again; contracts, dbt and publication follow by sensor.",
)
def backfill() -> None:
    ingested_day()
