"""What might keep a contact: what drives its risk, and what brought others of the tenant back."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feature_store.feature_views import FEATURE_VIEWS
from feature_store.on_demand import ON_DEMAND
from serving.prediction.bundles import Bundle
from serving.prediction.explanation import explain
from serving.prediction.predictor import Known
from serving.prediction.schemas import Contribution, Driver, RecommendationsRead, RetentionAction

DRIVERS = 5
# Below a tenth of a percentage point a field is no reason for anything.
LEAST_EFFECT = 0.001
NO_MODEL = "No churn model has been promoted yet: the score is a rule's, which gives no reasons."
NOT_MEASURED = "Too few silent contacts were sent anything to tell which sends bring them back."


def recommendations(known: Known, contact_id: uuid.UUID, now: dt.datetime) -> RecommendationsRead:
    """Raises: BundleBroken, CardMissing."""
    bundle = known.bundle
    row = bundle.encode(known.features, known.campaign, now)[0]
    made = bundle.judge(row[None])
    raising = [one for one in explain(bundle, row).contributions if one.contribution >= LEAST_EFFECT][:DRIVERS]
    given: list[dict[str, Any]] = bundle.card.get("actions") or []
    actions = [RetentionAction.model_validate(one) for one in given]
    return RecommendationsRead(
        contact_id=contact_id,
        model_version=bundle.version,
        probability=float(made.probability[0]),
        interval=made.intervals()[0],
        tier=made.tier.rows()[0],
        drivers=[_driver(one, _held(bundle, row, one.source, one.field)) for one in raising],
        actions=actions,
        actions_note=None if actions else NOT_MEASURED,
        features_stale=known.stale,
    )


def by_rule(ruled: Mapping[str, Any]) -> RecommendationsRead:
    """Of what PredictionRead describes, scored by the rule."""
    told = {name: ruled[name] for name in RecommendationsRead.model_fields if name in ruled}
    return RecommendationsRead.model_validate(told | {"drivers": [], "actions": [], "actions_note": NO_MODEL})


def _driver(one: Contribution, held: list[str] | None) -> Driver:
    """`held` are the contact's categories where the field is no number."""
    points = f"{100 * one.contribution:.1f} points of risk"
    about = (describe(one.field) or one.field).rstrip(".").replace("`", "")
    if held is not None:
        own = " and ".join(held) or "none that the model knows"
        advice = f"{about}: The contact's is {own}, which adds {points}."
        return Driver(field=one.field, advice=advice, value=None, usual=None, effect=one.contribution)
    if one.usual is None or one.value is None:
        known = "This is not known of the contact" if one.value is None else f"The contact's is {one.value:g}"
        advice = f"{about}: {known}, which adds {points}."
    else:
        direction = "raising" if one.value < one.usual else "lowering"
        advice = (
            f"{about}: {one.value:g}, where {one.usual:g} is usual. It adds {points}; look for a way of {direction} it."
        )
    return Driver(field=one.field, advice=advice, value=one.value, usual=one.usual, effect=one.contribution)


def _held(bundle: Bundle, row: NDArray[np.float32], source: str, field: str) -> list[str] | None:
    """The categories of an attribute that a row of the bundle's matrix has; None of a number."""
    columns = [(at, each) for at, each in enumerate(bundle.inputs) if (each.source, each.field) == (source, field)]
    names = [(at, each.equals if each.equals is not None else each.contains) for at, each in columns]
    if any(name is None for _, name in names):
        return None
    return [name for at, name in names if name is not None and row[at]]


@cache
def _descriptions() -> dict[str, str]:
    stored = {feature.name: feature.description for view in FEATURE_VIEWS for feature in view.features}
    return stored | {name: feature.description for name, feature in ON_DEMAND.items()}


def describe(field: str) -> str | None:
    """What a field means, in the feature catalogue's words; None for an attribute of the tenant's own."""
    return _descriptions().get(field)
