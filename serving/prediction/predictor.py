"""A prediction for a contact: online features, the tenant's champion, one answer; never a score from nothing."""

from __future__ import annotations

import asyncio
import datetime as dt
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import sqlalchemy as sa
from redis.asyncio import Redis

from feature_store.online import (
    EPOCH,
    EXPIRY,
    MICROSECOND,
    OnlineFeatures,
    get_online_features_async,
    snapshot_id,
    timezone_key,
)
from serving.contact.service import ContactNotFound
from serving.errors import Conflict, NotFound
from serving.kit.database import Database
from serving.models import Campaign, Contact
from serving.prediction.bundles import Bundle, Coded, ModelNotTrained, Predictions
from serving.prediction.champions import Champions
from serving.prediction.explanation import explain
from serving.prediction.given import Fields, check_campaign, fields_of
from serving.prediction.rules import score_by_rule

# What PredictionRead or NotPredicted describes, as plain objects: making a thousand models takes longer than judging.
Answer = dict[str, Any]
T = TypeVar("T")
# So many rows are judged where their request is: nearly all of it needs the interpreter's lock, which a thread would
# pass back and forth a hundred times, for two thirds more of the processor and no more answers. It takes milliseconds.
INLINE_ROWS = 1_000


async def aside(heavy: bool, work: Callable[..., T], *given: Any) -> T:
    """What `work` makes of `given`: in a thread when it is heavy, so that other requests go on."""
    return await asyncio.to_thread(work, *given) if heavy else work(*given)


class FeaturesMissing(Conflict):
    title = "Nothing is known of the contact's behaviour yet"


class FeaturesExpired(Conflict):
    title = "What is known of the contact's behaviour is too old for a prediction"


class CampaignUnknown(NotFound):
    title = "There is no such campaign"


@dataclass(frozen=True, slots=True)
class Question:
    """What a contact would be sent: a stored campaign, attributes that win over its own, or the reference campaign."""

    campaign_id: uuid.UUID | None = None
    campaign_attributes: Mapping[str, Any] | None = None


USUAL = Question()


@dataclass(frozen=True, slots=True)
class Known:
    """One contact's features, ready for a model."""

    bundle: Bundle
    campaign: Mapping[str, Any] | None
    features: OnlineFeatures
    stale: bool


@dataclass(frozen=True, slots=True)
class Given:
    """Predictions from given features, one a row, and each row's inputs outside of what training saw."""

    bundle: Bundle
    made: Predictions
    outside: Coded[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Batch:
    """Every contact asked about is in one of the two lists, each in the order asked."""

    bundle: Bundle
    predictions: list[Answer]
    not_predicted: list[Answer]


class Predictor:
    """Contacts asked about at the same time, with nothing said about the campaign, are judged together: what their
    requests wait for is one command to Redis and one run of the graph."""

    def __init__(self, database: Database, redis: Redis, champions: Champions, *, stale_after: dt.timedelta) -> None:
        self.champions = champions
        self._database = database
        self._redis = redis
        self.stale_after = stale_after
        self._waiting: dict[tuple[uuid.UUID, str], list[tuple[uuid.UUID, asyncio.Future[Answer]]]] = {}
        self._flushing: set[asyncio.Task[None]] = set()

    async def predict(
        self,
        tenant_id: uuid.UUID,
        model: str,
        contact_id: uuid.UUID,
        question: Question = USUAL,
        *,
        at: dt.datetime,
        explained: bool = False,
    ) -> Answer:
        """What PredictionRead describes; the rule's score where no model has been promoted.

        Raises: ModelNotTrained, BundleBroken, CardMissing, ContactNotFound, FeaturesMissing, FeaturesExpired,
        CampaignUnknown, Unprocessable.
        """
        try:
            return await self._predict(tenant_id, model, contact_id, question, at=at, explained=explained)
        except ModelNotTrained:
            ruled = await self.by_rule(tenant_id, model, contact_id, at=at)
            if ruled is None:
                raise
            return ruled

    async def by_rule(
        self, tenant_id: uuid.UUID, model: str, contact_id: uuid.UUID, *, at: dt.datetime
    ) -> Answer | None:
        """What PredictionRead describes, as the rule scored the contact; None where it did not."""
        return await asyncio.to_thread(
            score_by_rule, self._database, tenant_id, model, contact_id, at=at, stale_after=self.stale_after
        )

    async def _predict(
        self,
        tenant_id: uuid.UUID,
        model: str,
        contact_id: uuid.UUID,
        question: Question,
        *,
        at: dt.datetime,
        explained: bool,
    ) -> Answer:
        if question != USUAL or explained:
            batch = await self.predict_many(tenant_id, model, [contact_id], question, at=at, explained=explained)
            return _only(batch)
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        waiting = self._waiting.get((tenant_id, model))
        if waiting is None:
            self._waiting[tenant_id, model] = [(contact_id, answer)]
            task = asyncio.create_task(self._answer_waiting(tenant_id, model, at))
            self._flushing.add(task)
            task.add_done_callback(self._flushing.discard)
        else:
            waiting.append((contact_id, answer))
        return await answer

    async def _answer_waiting(self, tenant_id: uuid.UUID, model: str, at: dt.datetime) -> None:
        # Whoever is next in this turn of the event loop joins.
        await asyncio.sleep(0)
        waiting = self._waiting.pop((tenant_id, model))
        try:
            batch = await self.predict_many(tenant_id, model, [contact_id for contact_id, _ in waiting], at=at)
        except BaseException as error:
            for _, answer in waiting:
                if not answer.done():
                    answer.set_exception(error)
            if not isinstance(error, Exception):
                raise
            return
        predicted = {one["contact_id"]: one for one in batch.predictions}
        refused = {one["contact_id"]: one["reason"] for one in batch.not_predicted}
        for contact_id, answer in waiting:
            # Done already when its client went away.
            if answer.done():
                continue
            if (found := predicted.get(contact_id)) is not None:
                answer.set_result(found)
            else:
                answer.set_exception(_refusal(refused[contact_id]))

    async def predict_many(
        self,
        tenant_id: uuid.UUID,
        model: str,
        contact_ids: Sequence[uuid.UUID],
        question: Question = USUAL,
        *,
        at: dt.datetime,
        explained: bool = False,
    ) -> Batch:
        """Predictions for those contacts whose features are online, and why there is none for the others.

        Raises: ModelNotTrained, BundleBroken, CardMissing, CampaignUnknown, Unprocessable.
        """
        bundle = await self.champions.champion(tenant_id, model)
        campaign = await self.campaign(tenant_id, bundle, question)
        features = await get_online_features_async(self._redis, tenant_id, contact_ids, bundle.service)
        usable = features.found & ~features.stale(at, EXPIRY)
        positions = usable.nonzero()[0].tolist()
        predictions: list[Answer] = []
        if positions:
            chosen = features if len(positions) == len(contact_ids) else _rows(features, positions)
            asked = [contact_ids[position] for position in positions]
            arguments = (bundle, chosen, asked, campaign, at, self.stale_after, explained)
            predictions = await aside(len(positions) > INLINE_ROWS or explained, _judged, *arguments)
        not_predicted: list[Answer] = []
        if len(positions) < len(contact_ids):
            not_predicted = await self._reasons(tenant_id, contact_ids, features, set(positions))
        return Batch(bundle, predictions, not_predicted)

    async def judge(
        self,
        tenant_id: uuid.UUID,
        model: str,
        give: Callable[[Fields, str], OnlineFeatures],
        rows: int,
        question: Question,
        *,
        at: dt.datetime,
    ) -> Given:
        """Predictions from features that `give` makes, out of `rows` values or fewer, of the model's fields and the
        tenant's time zone.

        Raises: ModelNotTrained, BundleBroken, CampaignUnknown, Unprocessable, and what `give` raises.
        """
        bundle = await self.champions.champion(tenant_id, model)
        campaign = await self.campaign(tenant_id, bundle, question)
        zone: Any = await self._redis.get(timezone_key(tenant_id)) if bundle.asks_for_the_clock else None

        def judged() -> Given:
            features = give(fields_of(bundle.inputs), (zone or b"UTC").decode())
            matrix = bundle.encode(features, campaign, at)
            return Given(bundle, bundle.judge(matrix), bundle.out_of_range(matrix))

        return await aside(rows > INLINE_ROWS, judged)

    async def know(
        self, tenant_id: uuid.UUID, model: str, contact_id: uuid.UUID, question: Question, *, at: dt.datetime
    ) -> Known:
        """What a further look at one contact starts from. Raises: as `predict`."""
        bundle = await self.champions.champion(tenant_id, model)
        campaign = await self.campaign(tenant_id, bundle, question)
        features = await get_online_features_async(self._redis, tenant_id, [contact_id], bundle.service)
        if not features.found[0] or features.stale(at, EXPIRY)[0]:
            (refused,) = await self._reasons(tenant_id, [contact_id], features, set())
            raise _refusal(refused["reason"])
        return Known(bundle, campaign, features, bool(features.stale(at, self.stale_after)[0]))

    async def campaign(self, tenant_id: uuid.UUID, bundle: Bundle, question: Question) -> Mapping[str, Any] | None:
        """The attributes asked about; None for the model's reference campaign. Raises: CampaignUnknown, Unprocessable
        naming a given attribute the model cannot read."""
        if question.campaign_attributes:
            check_campaign(bundle.inputs, question.campaign_attributes)
        if question.campaign_id is None:
            return question.campaign_attributes
        stored = await asyncio.to_thread(self._campaign_attributes, tenant_id, question.campaign_id)
        return {**stored, **(question.campaign_attributes or {})}

    async def _reasons(
        self, tenant_id: uuid.UUID, contact_ids: Sequence[uuid.UUID], features: OnlineFeatures, usable: set[int]
    ) -> list[Answer]:
        left = [(position, each) for position, each in enumerate(contact_ids) if position not in usable]
        existing = await asyncio.to_thread(self._existing, tenant_id, [each for _, each in left])
        return [
            {
                "contact_id": each,
                "reason": "contact_not_found"
                if each not in existing
                else "features_expired"
                if features.found[position]
                else "features_missing",
            }
            for position, each in left
        ]

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


def _judged(
    bundle: Bundle,
    features: OnlineFeatures,
    contact_ids: Sequence[uuid.UUID],
    campaign: Mapping[str, Any] | None,
    at: dt.datetime,
    stale_after: dt.timedelta,
    explained: bool,
) -> list[Answer]:
    matrix = bundle.encode(features, campaign, at)
    made = bundle.judge(matrix)
    now = (at - EPOCH) // MICROSECOND
    stale_seconds = stale_after.total_seconds()
    named: dict[int, str] = {}
    predictions = []
    for position, (contact_id, snapshot, score, probability, interval, tier, outside) in enumerate(
        zip(
            contact_ids,
            features.snapshots.tolist(),
            made.score.tolist(),
            made.probability.tolist(),
            made.intervals(),
            made.tier.rows(),
            bundle.out_of_range(matrix).rows(),
            strict=True,
        )
    ):
        if snapshot not in named:
            named[snapshot] = snapshot_id(snapshot)
        age = (now - snapshot) / 1e6
        predictions.append(
            {
                "contact_id": contact_id,
                "model": bundle.model,
                "model_version": bundle.version,
                "method": "model",
                "score": score,
                "probability": probability,
                "interval": interval,
                "tier": tier,
                "feature_snapshot_id": named[snapshot],
                "features_age_seconds": max(0, int(age)),
                "features_stale": age > stale_seconds,
                "out_of_range": outside,
                "explanation": explain(bundle, matrix[position]) if explained else None,
            }
        )
    return predictions


def _rows(features: OnlineFeatures, positions: list[int]) -> OnlineFeatures:
    return OnlineFeatures(
        names=features.names,
        matrix=features.matrix[positions],
        found=features.found[positions],
        snapshot_id=features.snapshot_id,
        moment_names=features.moment_names,
        moments=features.moments[positions],
        attributes=[features.attributes[position] for position in positions],
        timezone=features.timezone,
        snapshots=features.snapshots[positions],
    )


def _only(batch: Batch) -> Answer:
    if batch.predictions:
        return batch.predictions[0]
    raise _refusal(batch.not_predicted[0]["reason"])


def _refusal(reason: str) -> Exception:
    problems = {"contact_not_found": ContactNotFound, "features_expired": FeaturesExpired}
    return problems.get(reason, FeaturesMissing)()
