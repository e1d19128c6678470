from __future__ import annotations

import asyncio
import datetime as dt
import uuid
from typing import Annotated, Any

import pydantic_core
from fastapi import APIRouter, Depends, Query, Request
from pydantic import ValidationError
from starlette.responses import Response

from serving.auth.caller import Role
from serving.auth.dependencies import PredictionsRead
from serving.auth.route import Route
from serving.contact.service import ContactNotFound
from serving.errors import Unprocessable, problems
from serving.kit.clock import NowDep
from serving.kit.dependencies import RedisDep
from serving.prediction import arrow, batches, json_bodies
from serving.prediction.bundles import BundleBroken, CardMissing, ModelNotTrained
from serving.prediction.health import ml_health
from serving.prediction.lean import Handler, Headers, caller_of, is_json
from serving.prediction.predictor import (
    USUAL,
    Answer,
    CampaignUnknown,
    FeaturesExpired,
    FeaturesMissing,
    Predictor,
    Question,
)
from serving.prediction.retention import by_rule, describe, recommendations
from serving.prediction.schemas import (
    MAX_ONE_BYTES,
    FeatureImportanceRead,
    FieldImportance,
    GivenBatchRead,
    MlHealthRead,
    ModelName,
    OptimalTimeRead,
    OptimalTimeRequest,
    PredictBatchRead,
    PredictBatchRequest,
    PredictionRead,
    PredictRequest,
    RecommendationsRead,
)
from serving.prediction.sendtimes import optimal_time

router = APIRouter(prefix="/ml", tags=["ml"], route_class=Route)
ONE_CONTACT = (ModelNotTrained, FeaturesMissing, FeaturesExpired, CardMissing, BundleBroken, ContactNotFound)
PREDICT_PROBLEMS = problems(*ONE_CONTACT, CampaignUnknown, json_bodies.BodyTooLarge)
CONTACT_PROBLEMS = problems(*ONE_CONTACT)
BATCH_PROBLEMS = problems(ModelNotTrained, BundleBroken, CampaignUnknown, Unprocessable, json_bodies.BodyTooLarge)
ARROW_TYPE = arrow.MEDIA_TYPE.encode()
_BYTES = {"schema": {"type": "string", "format": "binary"}}
ARROW_TOO: dict[str, Any] = {"requestBody": {"content": {arrow.MEDIA_TYPE: _BYTES}}}


async def _predictor(request: Request) -> Predictor:
    return request.app.state.predictor  # type: ignore[no-any-return]


PredictorDep = Annotated[Predictor, Depends(_predictor)]


async def _predict(
    predictor: Predictor, tenant_id: uuid.UUID, model: str, body: PredictRequest, now: dt.datetime
) -> Answer:
    plain = body.campaign_id is None and body.campaign_attributes is None
    question = USUAL if plain else Question(body.campaign_id, body.campaign_attributes)
    return await predictor.predict(tenant_id, model, body.contact_id, question, at=now, explained=body.explain)


def _predicts(model: str) -> Handler:
    validate = PredictRequest.__pydantic_validator__.validate_json

    async def answer(request: Request, headers: Headers, body: bytes) -> bytes | None:
        json_bodies.check_size(body, MAX_ONE_BYTES)
        if not is_json(headers):
            return None
        try:
            asked = validate(body)
        except ValidationError:
            return None
        caller, now = await caller_of(request, headers, Role.SALES)
        return pydantic_core.to_json(await _predict(request.app.state.predictor, caller.tenant_id, model, asked, now))

    return answer


async def _bounds_question(_request: Request, _headers: Headers, body: bytes) -> None:
    """FastAPI answers; it would make objects of whatever the body holds."""
    json_bodies.check_size(body, MAX_ONE_BYTES)


def _predicts_batch(model: str) -> Handler:
    async def answer(request: Request, headers: Headers, body: bytes) -> bytes | Response | None:
        if headers.get(b"content-type") == ARROW_TYPE:
            caller, now = await caller_of(request, headers, Role.SALES)
            stream = await batches.answer_arrow(request.app.state.predictor, caller.tenant_id, model, body, now)
            return Response(stream, media_type=arrow.MEDIA_TYPE)
        if (asked := await json_bodies.read_batch(body, declared=is_json(headers))) is None:
            return None
        caller, now = await caller_of(request, headers, Role.SALES)
        predictor = request.app.state.predictor
        if isinstance(asked, tuple):
            return await batches.answer_columns(predictor, caller.tenant_id, model, *asked, now)
        return await batches.answer_json(predictor, caller.tenant_id, model, asked, now)

    return answer


@router.post("/models/lead-scoring/predict", responses=PREDICT_PROBLEMS)
async def predict_lead_score(
    body: PredictRequest, caller: PredictionsRead, predictor: PredictorDep, now: NowDep
) -> PredictionRead:
    """How likely the contact is to answer a campaign by buying, as a 0-100 score with its tier."""
    return PredictionRead.model_validate(await _predict(predictor, caller.tenant_id, "lead_scoring", body, now))


@router.post(
    "/models/lead-scoring/batch",
    responses=BATCH_PROBLEMS | {200: {"content": {arrow.MEDIA_TYPE: _BYTES}}},
    openapi_extra=ARROW_TOO,
)
async def predict_lead_scores(
    body: PredictBatchRequest, caller: PredictionsRead, predictor: PredictorDep, now: NowDep
) -> PredictBatchRead | GivenBatchRead:
    """Lead scores of up to 1,000 contacts, and why some have none; or of up to 1,000 people whose features are given.

    An Arrow stream of up to 20,000 rows, uncompressed, is answered by one: either with the only column `contact_id`, or
    with a column for each field; `campaign_id` and `campaign_attributes` (JSON) then stand in the schema's metadata.
    """
    made = await batches.answer_json(predictor, caller.tenant_id, "lead_scoring", body, now)
    return (GivenBatchRead if body.contact_ids is None else PredictBatchRead).model_validate_json(made)


@router.post("/models/churn-prediction/predict", responses=PREDICT_PROBLEMS)
async def predict_churn(
    body: PredictRequest, caller: PredictionsRead, predictor: PredictorDep, now: NowDep
) -> PredictionRead:
    """How likely the contact is to fall silent."""
    return PredictionRead.model_validate(await _predict(predictor, caller.tenant_id, "churn", body, now))


@router.get("/models/churn-prediction/recommendations", responses=CONTACT_PROBLEMS)
async def churn_recommendations(
    caller: PredictionsRead, predictor: PredictorDep, now: NowDep, contact_id: Annotated[uuid.UUID, Query()]
) -> RecommendationsRead:
    """What drives the contact's risk of falling silent, and what brought silent contacts of this tenant back."""
    try:
        known = await predictor.know(caller.tenant_id, "churn", contact_id, USUAL, at=now)
    except ModelNotTrained:
        if (ruled := await predictor.by_rule(caller.tenant_id, "churn", contact_id, at=now)) is None:
            raise
        return by_rule(ruled)
    return await asyncio.to_thread(recommendations, known, contact_id, now)


@router.post("/models/engagement-prediction/predict", responses=PREDICT_PROBLEMS)
async def predict_engagement(
    body: PredictRequest, caller: PredictionsRead, predictor: PredictorDep, now: NowDep
) -> PredictionRead:
    """How likely the contact is to engage with a message sent now."""
    return PredictionRead.model_validate(await _predict(predictor, caller.tenant_id, "engagement", body, now))


@router.post("/models/engagement-prediction/optimal-time", responses=PREDICT_PROBLEMS)
async def optimal_send_time(
    body: OptimalTimeRequest, caller: PredictionsRead, predictor: PredictorDep, now: NowDep
) -> OptimalTimeRead:
    """At which of the next 168 hours the contact is likeliest to read, and the next best ones."""
    question = Question(body.campaign_id, body.campaign_attributes)
    known = await predictor.know(caller.tenant_id, "engagement", body.contact_id, question, at=now)
    return await asyncio.to_thread(optimal_time, known, body.contact_id, body.alternatives, now)


@router.post(
    "/models/engagement-prediction/feature-importance", responses=problems(ModelNotTrained, CardMissing, BundleBroken)
)
async def feature_importance(
    caller: PredictionsRead, predictor: PredictorDep, model: Annotated[ModelName, Query()] = "engagement"
) -> FeatureImportanceRead:
    """What the champion leans on: how much its AUC on later rows loses when a field is shuffled among people."""
    bundle = await predictor.champions.champion(caller.tenant_id, model)
    found = [
        FieldImportance(
            field=entry["field"],
            source=entry["source"],
            auc_drop=entry["auc_drop"],
            description=describe(entry["field"]),
        )
        for entry in bundle.card.get("importance", [])
    ]
    return FeatureImportanceRead(model=model, model_version=bundle.version, importance=found)


@router.get("/health")
async def health(caller: PredictionsRead, predictor: PredictorDep, redis: RedisDep, now: NowDep) -> MlHealthRead:
    """For each model the version that speaks, its age and whether it loads; and how old the features are."""
    return await ml_health(predictor.champions, redis, caller.tenant_id, now=now, stale_after=predictor.stale_after)


LEAN_HANDLERS: dict[str, Handler] = {
    f"/api/v1{router.prefix}/models/{path}": handler
    for path, handler in {
        "lead-scoring/predict": _predicts("lead_scoring"),
        "lead-scoring/batch": _predicts_batch("lead_scoring"),
        "churn-prediction/predict": _predicts("churn"),
        "engagement-prediction/predict": _predicts("engagement"),
        "engagement-prediction/optimal-time": _bounds_question,
    }.items()
}
