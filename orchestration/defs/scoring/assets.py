"""Scores of every contact of a tenant, published to PostgreSQL and Redis."""

import datetime as dt
import os
import uuid

import dagster as dg

from feature_store.settings import settings as store_settings
from feature_store.warehouse import warehouse_at
from orchestration.defs.training.assets import FEATURES, MODEL_NAMES
from orchestration.lib.built import require_sound
from orchestration.lib.freshness import DAILY
from orchestration.lib.partitions import tenant_of, tenants
from orchestration.lib.retrying import transient_errors_retried


def _scores(model: str) -> dg.AssetsDefinition:
    @dg.asset(
        key=["scores", model],
        deps=[["models", model], *(["features", view] for view in FEATURES)],
        partitions_def=tenants,
        group_name="scoring",
        kinds={"onnx", "postgres", "redis"},
        owners=["team:data"],
        freshness_policy=DAILY,
        description=f"One row per contact: the champion's {model} score, its probability, tier and reasons.",
    )
    def scored(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        from serving.kit.database import Database
        from serving.prediction.service import publish_scores
        from training.score import score_contacts
        from training.settings import TrainingSettings

        tenant = tenant_of(context.partition_key)
        now = dt.datetime.now(dt.UTC)
        warehouse = warehouse_at(store_settings().warehouse)
        require_sound(warehouse, tenant.tenant_id)
        rows = score_contacts(warehouse, TrainingSettings().bundles_dir, tenant.tenant_id, model, now)
        database = Database(os.environ["SERVING_WORKER_DATABASE_URL"])
        try:
            with transient_errors_retried(context):
                published = publish_scores(database, uuid.UUID(tenant.tenant_id), rows.to_arrow(), model, now)
        finally:
            database.dispose()
        tiers = rows["tier"].value_counts().sort("tier")
        return dg.MaterializeResult(
            metadata={"rows": published, "tiers": {str(tier): int(count) for tier, count in tiers.iter_rows()}}
        )

    return scored


SCORES = [_scores(model) for model in MODEL_NAMES]
