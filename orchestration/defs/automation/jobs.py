"""The selections of the graph that are run together."""

import dagster as dg

from orchestration.lib.partitions import tenants

WAREHOUSE_GROUPS = ("ingest", "staging", "intermediate", "features", "marts")
PUBLISHED_MARTS = dg.AssetSelection.assets(["publish", "marts"])

loop = dg.define_asset_job(
    "loop",
    selection=dg.AssetSelection.all(),
    partitions_def=tenants,
    description="The whole loop for one tenant: ingest, contracts, dbt, publication, features, training, scores,"
    " segment.",
)
refresh = dg.define_asset_job(
    "refresh",
    selection=dg.AssetSelection.groups(*WAREHOUSE_GROUPS) | PUBLISHED_MARTS,
    description="What arrived since the last run, up to the published marts.",
)
daily = dg.define_asset_job(
    "daily",
    selection=dg.AssetSelection.groups("online", "scoring", "activation")
    | dg.AssetSelection.assets(["publish", "analysts_snapshot"]),
    partitions_def=tenants,
    description="One tenant's online features, scores, segment and analysts' snapshot, from the newest build.",
)
train = dg.define_asset_job(
    "train",
    selection=dg.AssetSelection.groups("training", "scoring"),
    partitions_def=tenants,
    description="One tenant's training sets, models and scores.",
)
JOBS = [loop, refresh, daily, train]
