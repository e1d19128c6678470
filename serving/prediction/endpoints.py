from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request

from serving.auth.dependencies import PredictionsRead
from serving.contact.service import ContactNotFound
from serving.errors import problems
from serving.kit.clock import NowDep
from serving.prediction.bundles import BundleBroken, ModelNotTrained
from serving.prediction.predictor import CampaignUnknown, FeaturesMissing, Predictor
from serving.prediction.schemas import PredictBatchRead, PredictBatchRequest, PredictionRead, PredictRequest

router = APIRouter(prefix="/ml/models", tags=["ml"])
BATCH_PROBLEMS = problems(ModelNotTrained, BundleBroken, CampaignUnknown)
PREDICT_PROBLEMS = problems(ModelNotTrained, FeaturesMissing, BundleBroken, ContactNotFound, CampaignUnknown)


async def _predictor(request: Request) -> Predictor:
    return request.app.state.predictor  # type: ignore[no-any-return]


PredictorDep = Annotated[Predictor, Depends(_predictor)]


@router.post("/lead-scoring/predict", responses=PREDICT_PROBLEMS)
async def predict_lead_score(
    body: PredictRequest, caller: PredictionsRead, predictor: PredictorDep, now: NowDep
) -> PredictionRead:
    """How likely the contact is to answer a campaign by buying, as a 0-100 score with its tier."""
    return await predictor.predict(
        caller.tenant_id, "lead_scoring", body.contact_id, campaign_id=body.campaign_id,
        campaign_attributes=body.campaign_attributes, at=now,
    )  # fmt: skip


@router.post("/lead-scoring/batch", responses=BATCH_PROBLEMS)
async def predict_lead_scores(
    body: PredictBatchRequest, caller: PredictionsRead, predictor: PredictorDep, now: NowDep
) -> PredictBatchRead:
    """Lead scores of up to 1,000 contacts, and why some have none."""
    return await predictor.predict_many(
        caller.tenant_id, "lead_scoring", body.contact_ids, campaign_id=body.campaign_id,
        campaign_attributes=body.campaign_attributes, at=now,
    )  # fmt: skip


@router.post("/churn-prediction/predict", responses=PREDICT_PROBLEMS)
async def predict_churn(
    body: PredictRequest, caller: PredictionsRead, predictor: PredictorDep, now: NowDep
) -> PredictionRead:
    """How likely the contact is to fall silent."""
    return await predictor.predict(
        caller.tenant_id, "churn", body.contact_id, campaign_id=body.campaign_id,
        campaign_attributes=body.campaign_attributes, at=now,
    )  # fmt: skip


@router.post("/engagement-prediction/predict", responses=PREDICT_PROBLEMS)
async def predict_engagement(
    body: PredictRequest, caller: PredictionsRead, predictor: PredictorDep, now: NowDep
) -> PredictionRead:
    """How likely the contact is to engage with a message sent now."""
    return await predictor.predict(
        caller.tenant_id, "engagement", body.contact_id, campaign_id=body.campaign_id,
        campaign_attributes=body.campaign_attributes, at=now,
    )  # fmt: skip
