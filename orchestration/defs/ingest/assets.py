"""Operational tables as they arrive in the warehouse: every version of every row, none missed."""

import datetime as dt
from collections.abc import Iterator

import dagster as dg

from feature_store.ingest import ingest
from feature_store.settings import settings
from feature_store.warehouse import Warehouse
from orchestration.defs.ingest.contracts import CONTRACTS
from orchestration.lib.dbt_translator import OWNER

SPECS = [
    dg.AssetSpec(
        ["raw", table],
        group_name="ingest",
        kinds={"postgres", "duckdb"},
        owners=[OWNER],
        tags={"pii": "true" if table in ("messages", "replies") else "false"},
        description=f"Every version of each row of the operational table {table}, with when it was ingested.",
    )
    for table in CONTRACTS
]


@dg.multi_asset(specs=SPECS, can_subset=True, pool="warehouse", name="ingest")
def raw_tables(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
    wanted = [key.path[-1] for key in context.selected_asset_keys]
    configured = settings()
    for table in ingest(
        configured.operational_url, Warehouse(configured.warehouse), tables=wanted, now=dt.datetime.now(dt.UTC)
    ):
        yield dg.MaterializeResult(
            asset_key=["raw", table.name],
            metadata={"rows_ingested": table.rows, "seconds": round(table.seconds, 3), "horizon": str(table.horizon)},
        )
