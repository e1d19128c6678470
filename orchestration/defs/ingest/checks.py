"""The boundary as Dagster sees it: one check a raw table. What depends on the table waits for it; a warning tells of
rows that were set aside, and everything else goes on."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg

from feature_store.ingest import TABLES
from feature_store.settings import settings
from feature_store.warehouse import warehouse_at
from orchestration.defs.ingest.boundary import judge_new_rows
from orchestration.defs.ingest.judging import Judge, Verdict
from orchestration.lib.retrying import transient_errors_retried
from orchestration.lib.writing import PATIENCE_SECONDS, only_writer
from orchestration.runtime.home import Home

CHECK = "rows_keep_the_contract"
DESCRIPTION = "The table's Great Expectations suite, over rows not judged yet. Rows that break it are set aside."
SHOWN_ROWS = 50


@dg.multi_asset_check(
    name="contracts",
    specs=[dg.AssetCheckSpec(CHECK, asset=["raw", table], blocking=True, description=DESCRIPTION) for table in TABLES],
    can_subset=True,
    pool="warehouse",
)
def contracts(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
    home = Home.from_environment()
    wanted = {key.asset_key.path[-1]: key for key in context.selected_asset_check_keys}
    judge = Judge(home.path / "great_expectations", home.data_docs)
    with transient_errors_retried(context), only_writer(home, PATIENCE_SECONDS):
        warehouse = warehouse_at(settings().warehouse)
        verdicts = judge_new_rows(warehouse, sorted(wanted), judge, dt.datetime.now(dt.UTC))
        judge.write_pages()
    for table, verdict in verdicts:
        page = judge.page(table, verdict.run) if verdict.run else None
        yield dg.AssetCheckResult(
            asset_key=wanted[table].asset_key,
            check_name=CHECK,
            passed=verdict.passed,
            severity=dg.AssetCheckSeverity.WARN,
            metadata=_readable(verdict, page),
        )


def _readable(verdict: Verdict, page: Path | None) -> dict[str, dg.MetadataValue[Any]]:
    found: dict[str, dg.MetadataValue[Any]] = {
        "rows_judged": dg.MetadataValue.int(verdict.rows),
        "expectations": dg.MetadataValue.int(verdict.expectations),
    }
    if page:
        found["data_docs"] = dg.MetadataValue.url(page.as_uri())
    if verdict.broken:
        summary = "; ".join(f"{words}: {count} rows" for words, count in verdict.broken.items())
        found["summary"] = dg.MetadataValue.text(f"{summary}; set aside, of {len(verdict.tenants)} tenants")
        found["rows_by_tenant"] = dg.MetadataValue.json(verdict.tenants)
        found["broken_rows"] = dg.MetadataValue.table(
            [
                dg.TableRecord(
                    row.key | {"column": row.column, "expectation": row.expectation, "found": row.value or "nothing"}
                )
                for row in verdict.rows_named[:SHOWN_ROWS]
            ]
        )
        found["all_broken_rows"] = dg.MetadataValue.text("the warehouse's table raw._set_aside")
    return found
