"""Scores of a tenant's contacts by the model that speaks for it, or by the rule where none does."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from training.bundle import Bundle, champion_bundle
from training.explain import drivers
from training.models import model_named
from training.models.definition import ModelDefinition
from training.retention import advice

if TYPE_CHECKING:
    from feature_store.warehouse import Warehouse

Floats = npt.NDArray[np.float64]

CHUNK = 50_000
# 168 candidate hours cost 0.4 ms a contact: beyond this many contacts the hour is left to whoever asks about one.
BEST_HOUR_CONTACTS = 10_000
WEEK_HOURS = 168
# Of a probability: the parity that is asked of an export.
ROUNDING = 1e-5
CONTACTS = "select tenant_id, contact_id from marts.dim_contacts where tenant_id = $1 order by contact_id"


def score_contacts(
    warehouse: Warehouse,
    bundles_dir: Path,
    tenant_id: str,
    model: str,
    now: datetime,
    campaign_attributes: Mapping[str, Any] | None = None,
) -> pl.DataFrame:
    """One row per contact of the tenant: contact_id, model, model_version, score (0-100), probability (0-1), tier,
    reasons (JSON text), feature_snapshot_id, digest (of the bundle), interval_low, interval_high, interval_level,
    scored_at. The interval holds the contact's own probability; null where the model tells none, and for the rule.

    Asked about `campaign_attributes`, or the bundle's reference campaign, sent at `now`. Without a champion the rule
    scores, `model_version` is "rule", and the reasons say that the model abstains.
    """
    from feature_store.feature_services import FEATURE_SERVICES
    from feature_store.retrieval import get_historical_features

    chosen = model_named(model)
    bundle = champion_bundle(bundles_dir, tenant_id, model)
    contacts = warehouse.query(CONTACTS, [tenant_id])
    campaign = campaign_attributes
    if campaign is None:
        campaign = bundle.manifest["reference_campaign"] if bundle else {}
    spine = contacts.with_columns(
        pl.lit(now.astimezone(UTC)).cast(pl.Datetime("us", "UTC")).alias("event_timestamp"),
        pl.lit(json.dumps(campaign)).alias("campaign_attributes"),
    )
    service = FEATURE_SERVICES[bundle.manifest["feature_service"] if bundle else chosen.feature_service]
    frame = get_historical_features(warehouse, spine, service)
    parts = [_score_part(chosen, bundle, part, frame.height, now) for part in frame.iter_slices(CHUNK)]
    return pl.concat(parts) if parts else _score_part(chosen, None, frame, 0, now)


def _score_part(
    chosen: ModelDefinition, bundle: Bundle | None, frame: pl.DataFrame, contacts: int, now: datetime
) -> pl.DataFrame:
    from feature_store.online import snapshot_id

    if bundle is None:
        probability = chosen.score_by_rule(frame)
        score, version = np.round(100 * probability, 2), "rule"
        tiers = tiers_of(score, chosen.tiers)
        reasons: list[dict[str, Any]] = [
            {"abstained": True, "why": "no model has been promoted for this tenant", "drivers": []} for _ in tiers
        ]
    else:
        from feature_store.transforms import encode

        matrix = encode(frame, bundle.inputs)
        probability = bundle.probability(matrix)
        score = np.round(scores_of(chosen, bundle, probability), 2)
        version = bundle.version
        tiers = tiers_of(score, bundle.manifest["tiers"])
        importance = bundle.card.get("importance", [])
        reasons = [{"drivers": found} for found in drivers(bundle.probability, matrix, probability, importance)]
        if chosen.name == "engagement" and contacts <= BEST_HOUR_CONTACTS:
            for reason, best in zip(reasons, best_send_times(bundle, frame, now), strict=True):
                reason["best_send"] = best
        if chosen.name == "churn":
            for reason in reasons:
                reason["advice"] = advice(reason["drivers"], bundle.card)
    count = frame.height
    at = now.astimezone(UTC)
    return pl.DataFrame(
        {
            "contact_id": frame["contact_id"],
            "model": pl.repeat(chosen.name, count, eager=True),
            "model_version": pl.repeat(version, count, eager=True),
            "score": score,
            "probability": np.clip(probability, 0.0, 1.0),
            "tier": pl.Series(tiers, dtype=pl.String),
            "reasons": pl.Series([json.dumps(reason) for reason in reasons], dtype=pl.String),
            "feature_snapshot_id": pl.repeat(snapshot_id(int(at.timestamp() * 1_000_000)), count, eager=True),
            "digest": pl.repeat(bundle.digest if bundle else None, count, dtype=pl.String, eager=True),
            **_intervals(bundle, probability),
            "scored_at": pl.repeat(at, count, dtype=pl.Datetime("us", "UTC"), eager=True),
        }
    )


def _intervals(bundle: Bundle | None, probability: Floats) -> dict[str, pl.Series]:
    table = bundle.intervals if bundle else None
    names = ("interval_low", "interval_high", "interval_level")
    if table is None:
        return {name: pl.repeat(None, len(probability), dtype=pl.Float64, eager=True) for name in names}
    low, high = table.apply(np.clip(probability, 0.0, 1.0))
    return dict(
        zip(names, (pl.Series(low), pl.Series(high), pl.repeat(table.level, len(low), eager=True)), strict=True)
    )


def scores_of(chosen: ModelDefinition, bundle: Bundle, probability: Floats) -> Floats:
    """0-100. A lead's is its percentile among the tenant's people when the model was published, asked about the
    reference campaign: 80 means the best fifth whatever the base rate; the others' is the probability in per cent."""
    if chosen.scale == "probability":
        return 100 * probability
    return percentile(probability, bundle.manifest["reference_quantiles"])


def percentile(probability: Floats, quantiles: list[float]) -> Floats:
    """0-100, linear between the 101 quantiles; where several quantiles tie, the middle of the tie.

    The quantiles are those of the fitted model, which differs from its exported graph by rounding: whoever ties with
    them is within ROUNDING of them.
    """
    reference = np.asarray(quantiles)
    below = np.searchsorted(reference, probability * (1 - ROUNDING), side="left")
    above = np.searchsorted(reference, probability * (1 + ROUNDING), side="right")
    between = np.interp(probability, reference, np.arange(len(reference)))
    return np.asarray(np.where(above > below, (below + above - 1) / 2, between))


def tiers_of(score: Floats, tiers: Mapping[str, float]) -> list[str]:
    """The name of the highest tier whose bound the score lies above, the lowest where it lies above none; one per
    row."""
    ordered = sorted(tiers.items(), key=lambda item: item[1])
    bounds = np.array([bound for _, bound in ordered])
    names = [name for name, _ in ordered]
    return [names[max(position - 1, 0)] for position in np.searchsorted(bounds, score, side="left")]


def best_send_times(bundle: Bundle, frame: pl.DataFrame, now: datetime) -> list[dict[str, Any]]:
    """For each contact the hour among the next 168 at which it is likeliest to read: {"at" (UTC, ISO), "probability"}.

    The same model is asked 168 times; only what the clock shows differs, so the history stays as known now.
    """
    from feature_store.transforms import encode

    clock = [
        position
        for position, given in enumerate(bundle.inputs)
        if given.source == "on_demand" and not given.field.startswith(("days_since_", "tenure_"))
    ]
    first = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    moments = [first + timedelta(hours=hour) for hour in range(WEEK_HOURS)]
    best = np.full(frame.height, -1.0)
    best_hour = np.zeros(frame.height, dtype=np.int64)
    matrix = encode(frame, bundle.inputs)
    clock_inputs = [bundle.inputs[position] for position in clock]
    for hour, moment in enumerate(moments):
        if clock:
            asked = frame.with_columns(pl.lit(moment).cast(pl.Datetime("us", "UTC")).alias("event_timestamp"))
            matrix[:, clock] = encode(asked, clock_inputs)
        probability = bundle.probability(matrix)
        better = probability > best
        best[better], best_hour[better] = probability[better], hour
    return [
        {"at": moments[hour].isoformat(), "probability": round(float(value), 4)}
        for hour, value in zip(best_hour, best, strict=True)
    ]
