"""A tenant's trainings: started, watched and stopped, and nobody else's."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from typing import get_args

import sqlalchemy as sa
from fastapi.concurrency import run_in_threadpool
from redis.asyncio import Redis

from serving.auth.caller import Caller
from serving.errors import Conflict, NotFound
from serving.kit.database import Database
from serving.learning.dagster import Dagster, Run, TrainingUnavailable
from serving.learning.schemas import OVER, ModelName, Status, StepRead, TrainingRunRead, TrainingRunsRead

MODELS: tuple[str, ...] = get_args(ModelName)
STARTED = "train"
# Every job that trains: the loop does among other things.
TRAINING = ("train", "loop")
ACTIVE = ("QUEUED", "NOT_STARTED", "STARTING", "STARTED", "CANCELING")
_STATUS: dict[str, Status] = {
    "QUEUED": "queued",
    "NOT_STARTED": "queued",
    "MANAGED": "running",
    "STARTING": "running",
    "STARTED": "running",
    "SUSPENDED": "running",
    "CANCELING": "stopping",
    "CANCELED": "stopped",
    "SUCCESS": "succeeded",
    "FAILURE": "failed",
}
_STEPS = {"IN_PROGRESS": "running", "SUCCESS": "succeeded", "FAILURE": "failed", "SKIPPED": "skipped"}
# Runs looked at for those that train: other jobs of the tenant lie between.
_LOOKED_AT = 100
_LOOK_SECONDS = 1.0
_STOP_SECONDS, _ASK_AGAIN_SECONDS = 15.0, 0.2
# Longer than Dagster is waited for.
_STARTING_SECONDS = 120


class TrainingNotFound(NotFound):
    title = "There is no such training"


class TrainingRunning(Conflict):
    title = "These models are being trained already"


class Learning:
    """Every method raises TrainingUnavailable when Dagster is away."""

    def __init__(self, database: Database, redis: Redis, dagster: Dagster, *, follow_seconds: float = 30) -> None:
        self._database = database
        self._redis = redis
        self._dagster = dagster
        self.follow_seconds = follow_seconds

    async def start(self, caller: Caller, models: Sequence[str]) -> TrainingRunRead:
        """Raises: TrainingRunning when one of the models is being trained."""
        tenant = await self._slug(caller)
        job = await self._dagster.job(STARTED)
        # Who asks at the same time, of whatever process, waits to see what was started.
        async with self._redis.lock(f"training:starting:{caller.tenant_id}", timeout=_STARTING_SECONDS):
            going_on = [run for run in await self._going_on(tenant) if set(_models(run)) & set(models)]
            if going_on:
                raise TrainingRunning(run_id=going_on[0].run_id)
            wanted = [name for name in MODELS if name in models]
            assets = [path for name in wanted for path in (("training", f"{name}_dataset"), ("models", name))]
            by = f"user:{caller.user_id}" if caller.user_id else f"api_key:{caller.api_key_id}"
            run = await self._dagster.launch(job, tenant, assets, {"tenant": tenant, "rapport/started_by": by})
        return _read(run)

    async def stop(self, caller: Caller, run_id: uuid.UUID | None) -> list[TrainingRunRead]:
        """The trainings that were asked to stop; one that has ended is left alone. Raises: TrainingNotFound, and
        TrainingUnavailable when one goes on all the same."""
        tenant = await self._slug(caller)
        runs = await self._going_on(tenant) if run_id is None else [await self._own(tenant, run_id)]
        stopping = [run for run in runs if run.status in ACTIVE]
        for run in stopping:
            await self._end(run.run_id)
        return [_read(await self._own(tenant, uuid.UUID(run.run_id))) for run in stopping]

    async def status(self, caller: Caller, run_id: uuid.UUID | None) -> TrainingRunRead:
        """The run, or the tenant's newest. Raises: TrainingNotFound."""
        tenant = await self._slug(caller)
        if run_id is not None:
            return _read(await self._own(tenant, run_id))
        for run in await self._dagster.runs(tenant, limit=_LOOKED_AT):
            if run.job in TRAINING:
                return _read(run)
        raise TrainingNotFound

    async def follow(self, caller: Caller, run: TrainingRunRead) -> AsyncIterator[TrainingRunRead]:
        """The run, and it again whenever it got further, until it is over: for `follow_seconds` at most, so that nobody
        is told for long who may not ask any more, and while Dagster answers."""
        until = time.monotonic() + self.follow_seconds
        yield run
        while run.status not in OVER and time.monotonic() < until:
            await asyncio.sleep(_LOOK_SECONDS)
            try:
                now = await self.status(caller, run.run_id)
            except (TrainingUnavailable, TrainingNotFound):
                return
            if now != run:
                run = now
                yield run

    async def history(self, caller: Caller, limit: int, after: uuid.UUID | None) -> TrainingRunsRead:
        """Up to `limit` runs older than `after`. Raises: TrainingNotFound when that is no training of the tenant's."""
        tenant = await self._slug(caller)
        if after is not None:
            await self._own(tenant, after)
        cursor = None if after is None else str(after)
        found: list[Run] = []
        while len(found) <= limit:
            page = await self._dagster.runs(tenant, limit=_LOOKED_AT, before=cursor)
            found += [run for run in page if run.job in TRAINING]
            if len(page) < _LOOKED_AT:
                break
            cursor = page[-1].run_id
        items = [_read(run) for run in found[:limit]]
        return TrainingRunsRead(items=items, next=items[-1].run_id if len(found) > limit else None)

    async def _end(self, run_id: str) -> None:
        """Asks until it is heard: a run that has just been started does not hear yet. Raises: TrainingUnavailable."""
        until = time.monotonic() + _STOP_SECONDS
        while not await self._dagster.terminate(run_id):
            run = await self._dagster.run(run_id)
            if run is None or run.status not in ACTIVE or run.status == "CANCELING":
                return
            if time.monotonic() > until:
                raise TrainingUnavailable("the training cannot be stopped yet")
            await asyncio.sleep(_ASK_AGAIN_SECONDS)

    async def _going_on(self, tenant: str) -> list[Run]:
        return [run for run in await self._dagster.runs(tenant, limit=_LOOKED_AT, statuses=ACTIVE)
                if run.job in TRAINING]  # fmt: skip

    async def _own(self, tenant: str, run_id: uuid.UUID) -> Run:
        run = await self._dagster.run(str(run_id))
        if run is None or run.partition != tenant or run.job not in TRAINING:
            raise TrainingNotFound
        return run

    async def _slug(self, caller: Caller) -> str:
        return await run_in_threadpool(self._find_slug, caller.tenant_id)

    def _find_slug(self, tenant_id: uuid.UUID) -> str:
        with self._database.tenant(tenant_id) as session:
            return str(session.execute(sa.text("SELECT slug FROM tenants WHERE id = :id"), {"id": tenant_id}).scalar())


def _models(run: Run) -> list[str]:
    """A run without a selection of its own trains every model."""
    named = {path[-1] for path in run.assets if path[0] == "models"}
    return [name for name in MODELS if name in named or not run.assets]


def _read(run: Run) -> TrainingRunRead:
    begun = {step.key: step for step in run.steps}
    planned = run.planned or tuple(begun)
    steps = []
    for key in planned:
        step = begun.get(key)
        status = _STEPS.get(step.status, "waiting") if step else "waiting"
        steps.append(
            StepRead.model_validate(
                {
                    "name": key,
                    "status": status,
                    "started_at": step.started_at if step else None,
                    "ended_at": step.ended_at if step else None,
                }
            )
        )
    return TrainingRunRead(
        run_id=uuid.UUID(run.run_id),
        status=_STATUS[run.status],
        models=_models(run),
        steps_done=sum(step.status in ("succeeded", "failed", "skipped") for step in steps),
        steps_total=len(steps),
        created_at=run.created_at,
        started_at=run.started_at,
        ended_at=run.ended_at,
        steps=steps,
    )
