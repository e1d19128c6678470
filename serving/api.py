"""Every router of the HTTP contract, under /api/v1."""

from __future__ import annotations

from fastapi import APIRouter

from serving.analytics.endpoints import router as analytics
from serving.auth.endpoints import router as auth
from serving.campaign.endpoints import router as campaigns
from serving.contact.endpoints import router as contacts
from serving.health.endpoints import root_router
from serving.health.endpoints import router as health
from serving.learning.endpoints import router as learning
from serving.prediction.endpoints import router as predictions
from serving.score.endpoints import router as scores
from serving.segment.endpoints import router as segments
from serving.tenant.endpoints import router as tenants
from serving.webhook.endpoints import router as webhooks

router = APIRouter(prefix="/api/v1")
# The busiest first: routers are asked in this order whether a path is theirs.
for domain in (
    predictions,
    webhooks,
    campaigns,
    contacts,
    scores,
    segments,
    analytics,
    learning,
    auth,
    tenants,
    health,
):
    router.include_router(domain)

__all__ = ["root_router", "router"]
