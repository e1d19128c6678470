"""The code location: every asset, check, job, schedule and sensor, and the policy that holds for all of them."""

from __future__ import annotations

import dagster as dg

from orchestration.defs.activation.assets import likely_buyers, scored_segments
from orchestration.defs.automation.backfill import backfill
from orchestration.defs.automation.jobs import JOBS
from orchestration.defs.automation.purge import erasures_are_purged, purge_job
from orchestration.defs.automation.schedules import SCHEDULES
from orchestration.defs.automation.sensors import SENSORS
from orchestration.defs.dbt.assets import dbt_resource, warehouse_models
from orchestration.defs.features.assets import online_features
from orchestration.defs.ingest.assets import raw_tables
from orchestration.defs.ingest.checks import contracts
from orchestration.defs.publication.assets import analysts_snapshot, published
from orchestration.defs.scoring.assets import SCORES
from orchestration.defs.scoring.checks import CHAMPION_CHECKS
from orchestration.defs.training.assets import DATASETS, MODELS
from orchestration.lib.progress import progress

# One process for a run: a process per step would import the code location anew for each of them.
EXECUTOR = dg.in_process_executor

defs = dg.Definitions(
    assets=[
        raw_tables,
        warehouse_models,
        published,
        analysts_snapshot,
        online_features,
        *DATASETS,
        *MODELS,
        *SCORES,
        likely_buyers,
        scored_segments,
    ],
    asset_checks=[contracts, *CHAMPION_CHECKS],
    jobs=[*JOBS, backfill, purge_job],
    schedules=SCHEDULES,
    sensors=[*SENSORS, erasures_are_purged],
    resources={"dbt": dbt_resource()},
    loggers={"console": dg.colored_console_logger, "progress": progress},
    executor=EXECUTOR,
)
