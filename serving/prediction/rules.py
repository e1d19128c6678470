"""What the rule says of a contact, where no model has been promoted: its published score, never called a model's."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

import sqlalchemy as sa

from feature_store.online import EXPIRY
from serving.kit.database import Database
from serving.models import Score

RULE = "rule"


def score_by_rule(
    database: Database,
    tenant_id: uuid.UUID,
    model: str,
    contact_id: uuid.UUID,
    *,
    at: dt.datetime,
    stale_after: dt.timedelta,
) -> dict[str, Any] | None:
    """What PredictionRead describes, without an interval; None where the rule scored nobody of that id, or too long
    ago."""
    with database.tenant(tenant_id) as session:
        score = session.scalar(
            sa.select(Score).where(
                Score.contact_id == contact_id,
                Score.model == model,
                Score.model_version == RULE,
                Score.scored_at > at - EXPIRY,
            )
        )
    if score is None:
        return None
    age = at - score.scored_at
    return {
        "contact_id": contact_id,
        "model": model,
        "model_version": RULE,
        "method": RULE,
        "score": score.score,
        "probability": score.probability,
        "interval": None,
        "tier": score.tier,
        "feature_snapshot_id": score.feature_snapshot_id,
        "features_age_seconds": max(0, int(age.total_seconds())),
        "features_stale": age > stale_after,
        "out_of_range": [],
        "explanation": None,
    }
