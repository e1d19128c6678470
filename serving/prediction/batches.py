"""Batches however they are asked for: by contact or with given features, as JSON or as an Arrow stream.

Given features are checked whole columns at a time, those that came as JSON too.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Mapping

import orjson

from feature_store.online import OnlineFeatures
from serving.prediction import arrow, json_rows
from serving.prediction.given import Fields, columns_of, from_columns
from serving.prediction.json_columns import Column, features_in, plain
from serving.prediction.predictor import INLINE_ROWS, Given, Predictor, Question, aside
from serving.prediction.schemas import BATCH, INLINE_BYTES, Asked, PredictBatchRequest

_ROWS = [b"%d" % row for row in range(BATCH)]


async def answer_json(
    predictor: Predictor, tenant_id: uuid.UUID, model: str, body: PredictBatchRequest, at: dt.datetime
) -> bytes:
    """What PredictBatchRead describes; for given features, what GivenBatchRead does.

    Raises: ModelNotTrained, BundleBroken, CampaignUnknown, Unprocessable naming field and row.
    """
    if body.columns is not None:
        return await answer_columns(predictor, tenant_id, model, body, body.columns, at)
    if body.rows is not None:
        rows = body.rows
        return await _answer(predictor, tenant_id, model, body, len(rows), lambda fields: columns_of(fields, rows), at)
    question = Question(body.campaign_id, body.campaign_attributes)
    batch = await predictor.predict_many(tenant_id, model, body.contact_ids or [], question, at=at)
    return orjson.dumps({"predictions": batch.predictions, "not_predicted": batch.not_predicted})


async def answer_columns(
    predictor: Predictor,
    tenant_id: uuid.UUID,
    model: str,
    asked: Asked,
    columns: Mapping[str, Column],
    at: dt.datetime,
) -> bytes:
    """As `answer_json`."""
    count = len(next(iter(columns.values()), ()))
    return await _answer(predictor, tenant_id, model, asked, count, lambda _: columns, at)


async def _answer(
    predictor: Predictor,
    tenant_id: uuid.UUID,
    model: str,
    asked: Asked,
    count: int,
    columns: Callable[[Fields], Mapping[str, Column]],
    at: dt.datetime,
) -> bytes:
    question = Question(asked.campaign_id, asked.campaign_attributes)
    given = await predictor.judge(
        tenant_id, model, lambda fields, zone: _features(fields, columns(fields), zone), count, question, at=at
    )
    return b'{"predictions":%b}' % _rows_of(given)


def _features(fields: Fields, columns: Mapping[str, Column], timezone: str) -> OnlineFeatures:
    """Raises: Unprocessable."""
    features = features_in(fields, columns, timezone)
    if features is None:
        return from_columns(fields, {name: plain(values) for name, values in columns.items()}, timezone)
    return features


def _rows_of(given: Given) -> bytes:
    """A GivenPredictionRead for each row."""
    made, bundle, outside = given.made, given.bundle, given.outside
    if made.interval is None:
        interval: list[bytes | list[bytes]] = [b"null"]
    else:
        low, high, level = (
            json_rows.numbers(made.interval.low),
            json_rows.numbers(made.interval.high),
            made.interval.level,
        )
        interval = [b'{"low":', low, b',"high":', high, b',"level":%b}' % orjson.dumps(level)]
    # There are few ways for a row to end.
    ends = [
        b',"tier":%b,"out_of_range":%b}' % (orjson.dumps(tier), orjson.dumps(names))
        for tier in made.tier.values
        for names in outside.values
    ]
    end_of = made.tier.which * len(outside.values) + outside.which
    same = orjson.dumps({"model": bundle.model, "model_version": bundle.version})[1:-1]
    return json_rows.array_of(
        len(made.score),
        b'{"row":',
        _ROWS[: len(made.score)],
        b',%b,"score":' % same,
        json_rows.numbers(made.score),
        b',"probability":',
        json_rows.numbers(made.probability),
        b',"interval":',
        *interval,
        [ends[each] for each in end_of.tolist()],
    )


async def answer_arrow(predictor: Predictor, tenant_id: uuid.UUID, model: str, body: bytes, at: dt.datetime) -> bytes:
    """An Arrow stream for an Arrow stream. Raises: as `answer_json`."""
    rows, unpacked = await aside(len(body) > INLINE_BYTES, arrow.read_batch, body)
    asked = arrow.asked_in(rows)
    question = Question(asked.campaign_id, asked.campaign_attributes)
    large = unpacked > INLINE_ROWS
    contact_ids = await aside(large, arrow.contact_ids_in, rows)
    if contact_ids is not None:
        batch = await predictor.predict_many(tenant_id, model, contact_ids, question, at=at)
        return await aside(large, arrow.answer_contacts, batch, contact_ids)
    given = await predictor.judge(
        tenant_id, model, lambda fields, zone: arrow.features_in(fields, rows, zone), unpacked, question, at=at
    )
    return await aside(large, arrow.answer_given, given.bundle, given.made, given.outside)
