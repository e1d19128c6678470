"""Every router of the HTTP contract, under /api/v1."""

from __future__ import annotations

from fastapi import APIRouter

from serving.auth.endpoints import router as auth
from serving.health.endpoints import root_router
from serving.health.endpoints import router as health

router = APIRouter(prefix="/api/v1")
for domain in (auth, health):
    router.include_router(domain)

__all__ = ["root_router", "router"]
