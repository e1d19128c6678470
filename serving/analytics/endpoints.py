from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from serving.analytics import service
from serving.analytics.schemas import DashboardRead, HotLeadsRead
from serving.auth.dependencies import AnalyticsRead, SessionDep
from serving.kit.clock import NowDep

router = APIRouter(prefix="/analytics", tags=["analytics"])


@router.get("/dashboard")
def dashboard(_caller: AnalyticsRead, session: SessionDep, now: NowDep) -> DashboardRead:
    """What happens now and happened today, on the tenant's clock."""
    return service.dashboard(session, now)


@router.get("/hot-leads")
def hot_leads(
    _caller: AnalyticsRead, session: SessionDep, limit: Annotated[int, Query(ge=1, le=500)] = 50
) -> HotLeadsRead:
    """The best leads above the threshold, with why they score high and what they consented to."""
    return service.hot_leads(session, limit)
