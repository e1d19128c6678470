"""What leaves the warehouse: marts for the product, a file for each tenant's analysts."""

import contextlib
import datetime as dt
import os

import dagster as dg

from feature_store import set_aside
from feature_store.settings import settings
from feature_store.warehouse import warehouse_at
from orchestration.lib.built import built_as_of, held_tenants, require_sound, require_whole
from orchestration.lib.dbt_project import models_of, published_marts
from orchestration.lib.dbt_translator import OWNER
from orchestration.lib.freshness import DAILY, HOURLY
from orchestration.lib.partitions import tenant_of, tenants
from orchestration.lib.retrying import transient_errors_retried
from orchestration.lib.snapshots import write_snapshot
from orchestration.lib.writing import PATIENCE_SECONDS, only_writer
from orchestration.runtime.home import Home

PUBLISHED = published_marts()


@dg.asset(
    key=["publish", "marts"],
    deps=[["marts", mart] for mart in PUBLISHED],
    group_name="publish",
    kinds={"postgres"},
    owners=[OWNER],
    pool="warehouse",
    freshness_policy=HOURLY,
    description="The marts the product shows, in PostgreSQL under row-level security. A tenant's are all of one build;"
    " one whose rows failed a test keeps those of its last publication.",
)
def published(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
    from serving.publication.notes import Note, SetAside
    from serving.publication.service import publish_marts

    # No build replaces the warehouse meanwhile, so that what is published is of one build.
    with (
        transient_errors_retried(context),
        only_writer(Home.from_environment(), PATIENCE_SECONDS),
        contextlib.ExitStack() as opened,
    ):
        warehouse = warehouse_at(settings().warehouse)
        require_whole(warehouse)
        tables = {mart: opened.enter_context(warehouse.batches(f'SELECT * FROM marts."{mart}"')) for mart in PUBLISHED}
        now = dt.datetime.now(dt.UTC)
        as_of = built_as_of(warehouse) or now
        held, left_out = held_tenants(warehouse), set_aside.counts(warehouse)
        notes = {
            tenant: Note(held.get(tenant), tuple(SetAside(*each) for each in left_out.get(tenant, ())))
            for tenant in held.keys() | left_out.keys()
        }
        done = publish_marts(
            os.environ["PUBLICATION_DATABASE_URL"], tables, f"{as_of:%Y%m%dT%H%M%S.%f}Z", as_of, now, notes=notes
        )
    for tenant, why in held.items():
        context.log.warning(f"tenant {tenant} keeps its last published marts: {why}")
    rows = {table.name: table.rows for table in done}
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": sum(rows.values()),
            "rows": sum(rows.values()),
            "marts": rows,
            "held_tenants": held,
            "rows_set_aside": {tenant: sum(rows for *_, rows in each) for tenant, each in left_out.items()},
        }
    )


@dg.asset(
    key=["publish", "analysts_snapshot"],
    deps=models_of("marts", "features"),
    partitions_def=tenants,
    group_name="publish",
    kinds={"duckdb"},
    owners=[OWNER],
    tags={"pii": "false"},
    freshness_policy=DAILY,
    description="A DuckDB file with the marts and features of one tenant alone, for its analysts.",
)
def analysts_snapshot(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
    tenant, home = tenant_of(context.partition_key), Home.from_environment()
    with transient_errors_retried(context):
        warehouse = warehouse_at(settings().warehouse)
        require_sound(warehouse, tenant.tenant_id)
        written = write_snapshot(warehouse, tenant.tenant_id, home.snapshots / f"{tenant.slug}.duckdb")
    rows = sum(written.rows.values())
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": rows,
            "rows": rows,
            "path": dg.MetadataValue.path(written.path),
            "tables": written.rows,
        }
    )
