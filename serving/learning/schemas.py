from __future__ import annotations

import datetime as dt
import uuid
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

ModelName = Literal["lead_scoring", "churn", "engagement"]
Status = Literal["queued", "running", "stopping", "stopped", "succeeded", "failed"]
OVER: tuple[Status, ...] = ("stopped", "succeeded", "failed")


class StartRequest(BaseModel):
    """Which models to train; all three unless some are named."""

    model_config = ConfigDict(extra="forbid")

    models: Annotated[list[ModelName], Field(min_length=1, max_length=3)] | None = None


class TrainModelRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    model: ModelName


class StopRequest(BaseModel):
    """`run_id` names one run; without it every training of the tenant that is going on is stopped."""

    model_config = ConfigDict(extra="forbid")

    run_id: uuid.UUID | None = None


class StepRead(BaseModel):
    name: str
    status: Literal["waiting", "running", "succeeded", "failed", "skipped"]
    started_at: dt.datetime | None
    ended_at: dt.datetime | None


class TrainingRunRead(BaseModel):
    """One training of the tenant's, by whomever it was started. `models` are those it trains; `steps_done` counts the
    steps that are over, whatever came of them. Times are UTC."""

    run_id: uuid.UUID
    status: Status
    models: list[str]
    steps_done: int
    steps_total: int
    created_at: dt.datetime
    started_at: dt.datetime | None
    ended_at: dt.datetime | None
    steps: list[StepRead]


class TrainingRunsRead(BaseModel):
    """Newest first. `next` is the run to continue after; null on the last page."""

    items: list[TrainingRunRead]
    next: uuid.UUID | None = None
