"""The hour of the coming week at which a contact is likeliest to read."""

from __future__ import annotations

import datetime as dt
import uuid
from zoneinfo import ZoneInfo

import numpy as np

from serving.prediction.predictor import Known
from serving.prediction.schemas import OptimalTimeRead, SendTime

WEEK_HOURS = 168


def optimal_time(known: Known, contact_id: uuid.UUID, alternatives: int, now: dt.datetime) -> OptimalTimeRead:
    """The engagement model asked about each of the next 168 full hours; only the hour of sending differs, so the
    history stays as known now. Of equally good hours the earlier one is better. Raises: BundleBroken."""
    first = now.astimezone(dt.UTC).replace(minute=0, second=0, microsecond=0) + dt.timedelta(hours=1)
    moments = [first + dt.timedelta(hours=hour) for hour in range(WEEK_HOURS)]
    bundle = known.bundle
    matrix = np.repeat(bundle.encode(known.features, known.campaign, now), WEEK_HOURS, axis=0)
    # What grows with time (days since …) is as of now: it would tell the hours apart by nothing but waiting.
    clock = [
        position
        for position, column in enumerate(bundle.inputs)
        if column.source == "on_demand" and not column.field.startswith(("days_since_", "tenure_"))
    ]
    matrix[:, clock] = bundle.encode_moments(known.features, known.campaign, moments)[:, clock]
    probability = bundle.probability(matrix)
    zone = ZoneInfo(known.features.timezone)
    best = np.argsort(-probability, kind="stable")[: alternatives + 1]
    times = []
    for hour in best.tolist():
        local = moments[hour].astimezone(zone)
        times.append(
            SendTime(at=moments[hour], weekday=local.weekday(), hour=local.hour, probability=float(probability[hour]))
        )
    return OptimalTimeRead(
        contact_id=contact_id,
        model_version=bundle.version,
        timezone=known.features.timezone,
        best=times[0],
        alternatives=times[1:],
        mean_probability=float(probability.mean()),
        gain=float(probability.max() - probability.mean()),
        features_stale=known.stale,
    )
