"""Operational tables as they arrive in the warehouse: every version of every row, none missed."""

import datetime as dt
from collections.abc import Iterator

import dagster as dg

from feature_store.ingest import TABLES, ingest
from feature_store.settings import settings
from feature_store.warehouse import warehouse_at
from orchestration.lib.dbt_translator import OWNER
from orchestration.lib.freshness import HOURLY
from orchestration.lib.importing import TO_JUDGE, import_ahead
from orchestration.lib.retrying import transient_errors_retried
from orchestration.lib.writing import PATIENCE_SECONDS, only_writer
from orchestration.runtime.home import Home

SPECS = [
    dg.AssetSpec(
        ["raw", table],
        group_name="ingest",
        kinds={"postgres", "duckdb"},
        owners=[OWNER],
        tags={"pii": "true" if table in ("messages", "replies") else "false"},
        description=f"Every version of each row of the operational table {table}, with when it was ingested.",
        freshness_policy=HOURLY,
    )
    for table in TABLES
]


@dg.multi_asset(specs=SPECS, can_subset=True, pool="warehouse", name="ingest")
def raw_tables(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
    wanted = [key.path[-1] for key in context.selected_asset_keys]
    configured = settings()
    import_ahead(TO_JUDGE)
    with transient_errors_retried(context), only_writer(Home.from_environment(), PATIENCE_SECONDS):
        ingested = ingest(
            configured.operational_url, warehouse_at(configured.warehouse), tables=wanted, now=dt.datetime.now(dt.UTC)
        )
    for table in ingested:
        yield dg.MaterializeResult(
            asset_key=["raw", table.name],
            metadata={"rows_ingested": table.rows, "seconds": round(table.seconds, 3), "horizon": str(table.horizon)},
        )
