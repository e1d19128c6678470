"""A feature's values on two days, side by side."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from feature_store.as_of import as_of_everybody
from feature_store.drift import Bins, bin_shares, fit_bins, population_stability
from feature_store.feature_services import FeatureService
from feature_store.feature_views import FEATURES
from feature_store.on_demand import ON_DEMAND
from feature_store.sessions import open_session
from feature_store.transforms import InputColumn, encode
from feature_store.warehouse import Warehouse

QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)


class NotANumber(Exception):
    """There is no feature of this name, or it is a moment or text, which has no quantiles."""

    def __init__(self, feature: str) -> None:
        super().__init__(f"{feature} is no numeric feature; `rapport features list` names them")


class NobodyKnown(Exception):
    """No contact was known at the moment."""


@dataclass(frozen=True)
class DayFigures:
    """`at` is the midnight (UTC) looked at. `quantiles` are those of QUANTILES among the values that are there, and
    `mean` theirs; both are NaN where all are missing. `shares` follow the comparison's bins."""

    at: dt.datetime
    contacts: int
    missing_share: float
    mean: float
    quantiles: tuple[float, ...]
    shares: tuple[float, ...]


@dataclass(frozen=True)
class DayComparison:
    """`stability` is the population stability index of the second day against the first, in nats; `edges` bound the
    bins, fitted on the first day."""

    feature: str
    unit: str
    edges: tuple[float, ...]
    first: DayFigures
    second: DayFigures
    stability: float


def compare_days(
    warehouse: Warehouse, feature: str, first: dt.date, second: dt.date, tenant_id: str | None = None, bins: int = 10
) -> DayComparison:
    """The feature among the contacts known at each day's first midnight (UTC), as it was known then; of all tenants
    without `tenant_id`. Raises NotANumber and NobodyKnown."""
    moments = [dt.datetime.combine(day, dt.time(), dt.UTC) for day in (first, second)]
    before, after = (values_at(warehouse, feature, at, tenant_id) for at in moments)
    fitted = fit_bins(before, bins)
    return DayComparison(
        feature=feature,
        unit=ON_DEMAND[feature].unit if feature in ON_DEMAND else FEATURES[feature].unit,
        edges=fitted.edges,
        first=_figures(moments[0], before, fitted),
        second=_figures(moments[1], after, fitted),
        stability=population_stability(fitted, after),
    )


def values_at(warehouse: Warehouse, feature: str, at: dt.datetime, tenant_id: str | None = None) -> NDArray[np.float32]:
    """(n,) values, one for each contact known at `at` (UTC), NaN where missing. Raises NotANumber and NobodyKnown."""
    import polars as pl

    if feature in ON_DEMAND:
        service = FeatureService("drift", (), (feature, "tenure_days"))
        column = InputColumn(feature, "on_demand", feature)
    elif feature in FEATURES and FEATURES[feature].dtype == "float32":
        service = FeatureService("drift", (feature,), ("tenure_days",))
        column = InputColumn(feature, "feature", feature)
    else:
        raise NotANumber(feature)
    with open_session(warehouse) as session:
        frame = pl.from_arrow(session.table(as_of_everybody(session.dialect, service.views(), at, tenant_id)))
    assert isinstance(frame, pl.DataFrame)  # noqa: S101 - a table never becomes a series
    known = frame.filter(pl.col("first_known_at").is_not_null())
    if known.is_empty():
        raise NobodyKnown(f"no contact was known at {at:%Y-%m-%d %H:%M} UTC")
    known = known.with_columns(event_timestamp=pl.lit(at))
    return encode(known, [column])[:, 0]


def _figures(at: dt.datetime, values: NDArray[np.float32], fitted: Bins) -> DayFigures:
    known = values[~np.isnan(values)].astype(np.float64)
    empty = known.size == 0
    return DayFigures(
        at=at,
        contacts=values.size,
        missing_share=1 - known.size / values.size,
        mean=float("nan") if empty else float(known.mean()),
        quantiles=tuple([float("nan")] * len(QUANTILES) if empty else np.quantile(known, QUANTILES).tolist()),
        shares=bin_shares(fitted, values),
    )
