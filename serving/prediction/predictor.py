"""A prediction for a contact: online features, the tenant's champion, one answer; never a score from nothing."""

from __future__ import annotations

import asyncio
import datetime as dt
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from redis.asyncio import Redis

from feature_store.online import contact_key, timezone_key, unpack
from serving.contact.service import ContactNotFound
from serving.errors import Conflict, NotFound
from serving.kit.database import Database
from serving.models import Campaign, Contact
from serving.prediction.bundles import Bundles
from serving.prediction.schemas import NotPredicted, PredictBatchRead, PredictionRead

# Encoding this many rows takes about as long as handing them to a thread.
_INLINE_ROWS = 64


class FeaturesMissing(Conflict):
    title = "Nothing is known of the contact's behaviour yet"


class CampaignUnknown(NotFound):
    title = "There is no such campaign"


class Predictor:
    def __init__(self, database: Database, redis: Redis, bundles: Bundles) -> None:
        self._database = database
        self._redis = redis
        self._bundles = bundles

    async def predict(
        self,
        tenant_id: uuid.UUID,
        model: str,
        contact_id: uuid.UUID,
        *,
        campaign_id: uuid.UUID | None,
        campaign_attributes: Mapping[str, Any] | None,
        at: dt.datetime,
    ) -> PredictionRead:
        """Raises: ModelNotTrained, BundleBroken, ContactNotFound, FeaturesMissing, CampaignUnknown."""
        batch = await self.predict_many(
            tenant_id, model, [contact_id], campaign_id=campaign_id, campaign_attributes=campaign_attributes, at=at
        )
        if batch.predictions:
            return batch.predictions[0]
        raise ContactNotFound if batch.not_predicted[0].reason == "contact_not_found" else FeaturesMissing

    async def predict_many(
        self,
        tenant_id: uuid.UUID,
        model: str,
        contact_ids: Sequence[uuid.UUID],
        *,
        campaign_id: uuid.UUID | None,
        campaign_attributes: Mapping[str, Any] | None,
        at: dt.datetime,
    ) -> PredictBatchRead:
        """Predictions for those contacts whose features are online, and why there is none for the others.

        Raises: ModelNotTrained, BundleBroken, CampaignUnknown.
        """
        bundle = await self._bundles.champion(tenant_id, model)
        if campaign_id is not None:
            stored = await asyncio.to_thread(self._campaign_attributes, tenant_id, campaign_id)
            campaign_attributes = {**stored, **(campaign_attributes or {})}
        keys = [timezone_key(tenant_id), *(contact_key(tenant_id, contact_id) for contact_id in contact_ids)]
        answers: list[Any] = await self._redis.mget(keys)
        timezone, values = answers[0], answers[1:]
        known = [(contact_id, value) for contact_id, value in zip(contact_ids, values, strict=True) if value]
        unknown = [contact_id for contact_id, value in zip(contact_ids, values, strict=True) if not value]
        predictions: list[PredictionRead] = []
        if known:
            features = unpack([value for _, value in known], bundle.service, (timezone or b"UTC").decode())
            if len(known) > _INLINE_ROWS:
                made = await asyncio.to_thread(bundle.predict, features, campaign_attributes, at)
            else:
                made = bundle.predict(features, campaign_attributes, at)
            rows = zip(known, made.score.tolist(), made.probability.tolist(), made.tier, strict=True)
            predictions = [
                PredictionRead.model_construct(
                    contact_id=contact_id,
                    model=model,
                    model_version=bundle.version,
                    score=score,
                    probability=probability,
                    tier=tier,
                    feature_snapshot_id=features.snapshot_id,
                )
                for (contact_id, _), score, probability, tier in rows
            ]
        not_predicted: list[NotPredicted] = []
        if unknown:
            existing = await asyncio.to_thread(self._existing, tenant_id, unknown)
            not_predicted = [
                NotPredicted(contact_id=each, reason="features_missing" if each in existing else "contact_not_found")
                for each in unknown
            ]
        return PredictBatchRead.model_construct(predictions=predictions, not_predicted=not_predicted)

    def _campaign_attributes(self, tenant_id: uuid.UUID, campaign_id: uuid.UUID) -> dict[str, Any]:
        with self._database.tenant(tenant_id) as session:
            attributes: dict[str, Any] | None = session.scalar(
                sa.select(Campaign.attributes).where(Campaign.id == campaign_id)
            )
        if attributes is None:
            raise CampaignUnknown
        return attributes

    def _existing(self, tenant_id: uuid.UUID, contact_ids: Sequence[uuid.UUID]) -> set[uuid.UUID]:
        with self._database.tenant(tenant_id) as session:
            return set(session.scalars(sa.select(Contact.id).where(Contact.id.in_(contact_ids))))
