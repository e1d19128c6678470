"""The newest features of a tenant's contacts, in the online store."""

import datetime as dt

import dagster as dg

from feature_store.settings import settings
from feature_store.warehouse import warehouse_at
from orchestration.defs.training.assets import FEATURES
from orchestration.lib.built import require_sound
from orchestration.lib.freshness import DAILY
from orchestration.lib.partitions import tenant_of, tenants
from orchestration.lib.retrying import transient_errors_retried


@dg.asset(
    key=["online", "contact_features"],
    deps=[["features", view] for view in FEATURES],
    partitions_def=tenants,
    group_name="online",
    kinds={"redis"},
    owners=["team:data"],
    freshness_policy=DAILY,
    description="The rows of every feature view as of now, packed by contact; what predictions read.",
)
def online_features(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
    from feature_store.materialization import materialize

    configured = settings()
    with transient_errors_retried(context):
        tenant, warehouse = tenant_of(context.partition_key), warehouse_at(configured.warehouse)
        require_sound(warehouse, tenant.tenant_id)
        snapshot = materialize(warehouse, configured.redis_url, tenant.tenant_id, dt.datetime.now(dt.UTC))
    return dg.MaterializeResult(metadata={"rows": snapshot.contacts, "snapshot_id": snapshot.snapshot_id})
