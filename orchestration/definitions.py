"""The code location: every asset, check, job and schedule, and the policy that holds for all of them."""

from __future__ import annotations

import dagster as dg

from orchestration.defs.activation.assets import likely_buyers
from orchestration.defs.dbt.assets import dbt_resource, warehouse_models
from orchestration.defs.features.assets import online_features
from orchestration.defs.ingest.assets import raw_tables
from orchestration.defs.ingest.checks import contracts
from orchestration.defs.scoring.assets import SCORES
from orchestration.defs.training.assets import DATASETS, MODELS
from orchestration.lib.partitions import tenants
from orchestration.lib.progress import progress

# One process for a run: a process per step would import the code location anew for each of them.
EXECUTOR = dg.in_process_executor

loop = dg.define_asset_job(
    "loop",
    selection=dg.AssetSelection.all(),
    partitions_def=tenants,
    description="The whole loop for one tenant: ingest, contracts, dbt, features, training, scores, segment.",
)
refresh = dg.define_asset_job(
    "refresh",
    selection=dg.AssetSelection.groups("ingest", "staging", "intermediate", "features", "marts"),
    description="What arrived since the last run, up to the marts.",
)

defs = dg.Definitions(
    assets=[raw_tables, warehouse_models, online_features, *DATASETS, *MODELS, *SCORES, likely_buyers],
    asset_checks=[contracts],
    jobs=[loop, refresh],
    schedules=[
        dg.ScheduleDefinition(job=refresh, cron_schedule="10 * * * *", description="Hourly, ten past."),
    ],
    resources={"dbt": dbt_resource()},
    loggers={"console": dg.colored_console_logger, "progress": progress},
    executor=EXECUTOR,
)
