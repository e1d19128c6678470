from __future__ import annotations

import importlib.metadata
from typing import Literal

import sqlalchemy as sa
from fastapi import APIRouter, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel
from redis.exceptions import RedisError

from serving.auth.route import Route
from serving.kit.database import Database
from serving.kit.dependencies import DatabaseDep, RedisDep

root_router = APIRouter(tags=["health"], route_class=Route)
router = APIRouter(prefix="/health", tags=["health"], route_class=Route)
VERSION = importlib.metadata.version("rapport")


class RootRead(BaseModel):
    name: str
    version: str
    documentation: str
    health: str


class HealthRead(BaseModel):
    """`status` is "ok" when every check is; the answer is a 503 otherwise. Checks tell no address and no error text."""

    status: Literal["ok", "failing"]
    version: str
    checks: dict[str, Literal["ok", "failing"]]


@root_router.get("/")
async def root() -> RootRead:
    """What answers here."""
    return RootRead(name="rapport", version=VERSION, documentation="/docs", health="/api/v1/health/health")


@router.get("/health", responses={503: {"model": HealthRead}})
async def health(response: Response, database: DatabaseDep, redis: RedisDep) -> HealthRead:
    """Whether PostgreSQL and Redis answer."""
    checks: dict[str, Literal["ok", "failing"]] = {"database": "ok", "redis": "ok"}
    try:
        await run_in_threadpool(_query, database)
    except sa.exc.SQLAlchemyError:
        checks["database"] = "failing"
    try:
        await redis.ping()
    except (OSError, RedisError):
        checks["redis"] = "failing"
    failing = "failing" in checks.values()
    response.status_code = 503 if failing else 200
    return HealthRead(status="failing" if failing else "ok", version=VERSION, checks=checks)


def _query(database: Database) -> None:
    with database.no_tenant() as session:
        session.execute(sa.text("SELECT 1"))
