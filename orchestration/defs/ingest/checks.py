"""The boundary as Dagster sees it: one blocking check a raw table."""

import datetime as dt
from collections.abc import Iterator
from typing import Any

import dagster as dg

from feature_store.settings import settings
from feature_store.warehouse import DuckDBWarehouse, warehouse_at
from orchestration.defs.ingest.boundary import judge_new_rows
from orchestration.defs.ingest.contracts import CONTRACTS, Verdict

CHECK = "rows_keep_the_contract"
DESCRIPTION = (
    "The table's Great Expectations suite, over rows not judged yet. Marts and scores stay as they are on failure."
)


@dg.multi_asset_check(
    name="contracts",
    specs=[
        dg.AssetCheckSpec(CHECK, asset=["raw", table], blocking=True, description=DESCRIPTION) for table in CONTRACTS
    ],
    can_subset=True,
    pool="warehouse",
)
def contracts(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
    warehouse = warehouse_at(settings().warehouse)
    assert isinstance(warehouse, DuckDBWarehouse)  # noqa: S101 - the only kind that holds raw rows so far
    for key in sorted(context.selected_asset_check_keys):
        verdict = judge_new_rows(warehouse, key.asset_key.path[-1], dt.datetime.now(dt.UTC))
        yield dg.AssetCheckResult(
            asset_key=key.asset_key, check_name=CHECK, passed=verdict.passed, metadata=_readable(verdict)
        )


def _readable(verdict: Verdict) -> dict[str, dg.MetadataValue[Any]]:
    found: dict[str, dg.MetadataValue[Any]] = {
        "rows_judged": dg.MetadataValue.int(verdict.rows),
        "expectations": dg.MetadataValue.int(verdict.expectations),
    }
    if verdict.broken:
        lines = [
            f"| {words} | {count} | {', '.join(verdict.examples[words])} |" for words, count in verdict.broken.items()
        ]
        summary = "; ".join(f"{words}: {count} rows" for words, count in verdict.broken.items())
        found["summary"] = dg.MetadataValue.text(summary)
        found["broken"] = dg.MetadataValue.md("\n".join(["| expectation | rows | examples |", "|---|---|---|", *lines]))
    return found
