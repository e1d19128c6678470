"""Batches however they are asked for: by contact or with given features, as JSON or as an Arrow stream."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

from serving.prediction import arrow
from serving.prediction.given import from_columns, from_rows
from serving.prediction.predictor import Predictor, Question
from serving.prediction.schemas import PredictBatchRequest


async def answer_json(
    predictor: Predictor, tenant_id: uuid.UUID, model: str, body: PredictBatchRequest, at: dt.datetime
) -> dict[str, Any]:
    """What PredictBatchRead describes; for given features, what GivenBatchRead does.

    Raises: ModelNotTrained, BundleBroken, CampaignUnknown, Unprocessable naming field and row.
    """
    question = Question(body.campaign_id, body.campaign_attributes)
    if body.contact_ids is not None:
        batch = await predictor.predict_many(tenant_id, model, body.contact_ids, question, at=at)
        return {"predictions": batch.predictions, "not_predicted": batch.not_predicted}
    given = await predictor.judge(
        tenant_id,
        model,
        lambda fields, zone: (
            from_columns(fields, body.columns, zone)
            if body.columns is not None
            else from_rows(fields, body.rows or [], zone)
        ),
        question,
        at=at,
    )
    made = given.made
    rows = zip(made.score.tolist(), made.probability.tolist(), made.intervals(), made.tier, given.outside, strict=True)
    predictions = [
        {
            "row": row,
            "model": given.bundle.model,
            "model_version": given.bundle.version,
            "score": score,
            "probability": probability,
            "interval": interval,
            "tier": tier,
            "out_of_range": outside,
        }
        for row, (score, probability, interval, tier, outside) in enumerate(rows)
    ]
    return {"predictions": predictions}


async def answer_arrow(predictor: Predictor, tenant_id: uuid.UUID, model: str, body: bytes, at: dt.datetime) -> bytes:
    """An Arrow stream for an Arrow stream. Raises: as `answer_json`."""
    table = arrow.read_table(body)
    asked = arrow.asked_in(table)
    question = Question(asked.campaign_id, asked.campaign_attributes)
    contact_ids = arrow.contact_ids_in(table)
    if contact_ids is not None:
        batch = await predictor.predict_many(tenant_id, model, contact_ids, question, at=at)
        return arrow.answer_contacts(batch, contact_ids)
    given = await predictor.judge(
        tenant_id, model, lambda fields, zone: arrow.features_in(fields, table, zone), question, at=at
    )
    return arrow.answer_given(given.bundle, given.made, given.outside)
