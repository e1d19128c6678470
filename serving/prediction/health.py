"""Whether the tenant's models can speak, and how fresh what they know is."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from typing import Literal, get_args

from redis.asyncio import Redis

from feature_store.online import EPOCH, schemas_key
from serving.prediction.bundles import BundleBroken, ModelNotTrained
from serving.prediction.champions import Champions
from serving.prediction.schemas import MlHealthRead, ModelHealth, ModelName


async def ml_health(
    champions: Champions, redis: Redis, tenant_id: uuid.UUID, *, now: dt.datetime, stale_after: dt.timedelta
) -> MlHealthRead:
    """Loads each promoted bundle, if it is not loaded, to see that it can be."""
    models = [await _model(champions, tenant_id, model, now) for model in get_args(ModelName)]
    written = await _features_written_at(redis, tenant_id)
    age = None if written is None else now - written
    stale = age is None or age > stale_after
    trained = [model for model in models if model.status != "not_trained"]
    degraded = any(model.status == "broken" for model in models) or (bool(trained) and stale)
    return MlHealthRead(
        status="degraded" if degraded else "ok",
        models=models,
        features_written_at=written,
        features_age_seconds=None if age is None else max(0, int(age.total_seconds())),
        features_stale=stale,
    )


async def _model(champions: Champions, tenant_id: uuid.UUID, model: str, now: dt.datetime) -> ModelHealth:
    try:
        bundle = await champions.champion(tenant_id, model)
    except ModelNotTrained:
        return ModelHealth(model=model, status="not_trained")
    except BundleBroken:
        return ModelHealth(model=model, status="broken")
    age = (now - bundle.trained_at).total_seconds() / 86_400
    status: Literal["ok", "broken"] = "broken" if champions.is_outdated(tenant_id, model) else "ok"
    return ModelHealth(
        model=model, status=status, version=bundle.version, trained_at=bundle.trained_at, age_days=round(age, 2)
    )


async def _features_written_at(redis: Redis, tenant_id: uuid.UUID) -> dt.datetime | None:
    described = await redis.hgetall(schemas_key(tenant_id))
    written = [int(json.loads(value)["written_at"]) for value in described.values()]
    return EPOCH + dt.timedelta(microseconds=max(written)) if written else None
