from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.sse import EventSourceResponse

from serving.auth.caller import Caller, Role
from serving.auth.dependencies import PredictionsRead, at_least
from serving.auth.route import Route
from serving.errors import problems
from serving.learning.dagster import TrainingUnavailable
from serving.learning.schemas import (
    StartRequest,
    StopRequest,
    TrainingRunRead,
    TrainingRunsRead,
    TrainModelRequest,
)
from serving.learning.service import MODELS, Learning, TrainingNotFound, TrainingRunning

router = APIRouter(prefix="/ml/training", tags=["ml"], route_class=Route)
START_PROBLEMS = problems(TrainingRunning, TrainingUnavailable)
RUN_PROBLEMS = problems(TrainingNotFound, TrainingUnavailable)
TrainingWrite = Annotated[Caller, Depends(at_least(Role.MARKETER))]


async def _learning(request: Request) -> Learning:
    return request.app.state.learning  # type: ignore[no-any-return]


LearningDep = Annotated[Learning, Depends(_learning)]


@router.post("/start", status_code=202, responses=START_PROBLEMS)
async def start_training(
    caller: TrainingWrite, learning: LearningDep, body: StartRequest | None = None
) -> TrainingRunRead:
    """Starts a training of the models named, or of all. A better model is promoted when it is over."""
    return await learning.start(caller, (body and body.models) or MODELS)


@router.post("/train-model", status_code=202, responses=START_PROBLEMS)
async def train_model(body: TrainModelRequest, caller: TrainingWrite, learning: LearningDep) -> TrainingRunRead:
    """Starts a training of one model."""
    return await learning.start(caller, [body.model])


@router.post("/train-all", status_code=202, responses=START_PROBLEMS)
async def train_all(caller: TrainingWrite, learning: LearningDep) -> TrainingRunRead:
    """Starts a training of every model."""
    return await learning.start(caller, MODELS)


@router.post("/stop", responses=RUN_PROBLEMS)
async def stop_training(
    caller: TrainingWrite, learning: LearningDep, body: StopRequest | None = None
) -> TrainingRunsRead:
    """Stops a training, or all that go on. What speaks goes on speaking; a half-made model is never served."""
    return TrainingRunsRead(items=await learning.stop(caller, body.run_id if body else None))


async def _run(
    caller: PredictionsRead, learning: LearningDep, run_id: Annotated[uuid.UUID | None, Query()] = None
) -> TrainingRunRead:
    return await learning.status(caller, run_id)


RunDep = Annotated[TrainingRunRead, Depends(_run)]


@router.get("/status", responses=RUN_PROBLEMS)
async def training_status(run: RunDep) -> TrainingRunRead:
    """How far a training is; the newest one unless `run_id` names another."""
    return run


@router.get("/progress", responses=RUN_PROBLEMS, response_class=EventSourceResponse)
async def training_progress(
    run: RunDep, caller: PredictionsRead, learning: LearningDep
) -> AsyncIterator[TrainingRunRead]:
    """What `status` tells, as server-sent events: at once, and whenever the training got further.

    The stream ends when the training does, and after half a minute: until its last `status` is `succeeded`, `failed` or
    `stopped`, connect again, as browsers do by themselves.
    """
    async for each in learning.follow(caller, run):
        yield each


@router.get("/history", responses=RUN_PROBLEMS)
async def training_history(
    caller: PredictionsRead,
    learning: LearningDep,
    limit: Annotated[int, Query(ge=1, le=50)] = 20,
    after: Annotated[uuid.UUID | None, Query(description="Continue after this run")] = None,
) -> TrainingRunsRead:
    """The tenant's trainings, newest first, whoever or whatever started them."""
    return await learning.history(caller, limit, after)
