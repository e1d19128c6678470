"""What there is to know of the features, as a frame for notebooks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from feature_store.feature_services import FEATURE_SERVICES, FeatureService
from feature_store.feature_view import FeatureView
from feature_store.feature_views import FEATURE_VIEWS
from feature_store.on_demand import ON_DEMAND

if TYPE_CHECKING:
    import polars as pl

ON_DEMAND_VIEW = "on demand"


def describe(of: FeatureService | FeatureView | str | None = None) -> pl.DataFrame:
    """One row per feature: name, view, dtype, unit, window, description, null_means, owner and readers (the services
    that use it).

    `of` is a service or a view, or the name of one; of a service its inputs in the model's order, then what those are
    made of. Everything without it. Raises KeyError for a name of neither.
    """
    import polars as pl

    chosen = named(of) if isinstance(of, str) else of
    rows = [row for view in FEATURE_VIEWS for row in _stored(view)]
    rows += [_on_demand(name) for name in ON_DEMAND]
    if isinstance(chosen, FeatureView):
        rows = [row for row in rows if row["view"] == chosen.name]
    elif isinstance(chosen, FeatureService):
        by_name = {row["name"]: row for row in rows}
        inputs = (*chosen.features, *chosen.on_demand)
        rows = [by_name[name] for name in (*inputs, *sorted(chosen.stored() - set(inputs)))]
    text = ("name", "view", "dtype", "unit", "window", "description", "null_means", "owner")
    return pl.DataFrame(rows, schema=dict.fromkeys(text, pl.String) | {"readers": pl.List(pl.String)})


def named(name: str) -> FeatureService | FeatureView:
    """The service or view of this name. Raises KeyError."""
    found: dict[str, FeatureService | FeatureView] = {**FEATURE_SERVICES, **{view.name: view for view in FEATURE_VIEWS}}
    if name not in found:
        raise KeyError(f"no service and no view is called {name}; there are: {', '.join(found)}")
    return found[name]


def readers(feature: str) -> list[str]:
    """The services that use a feature, stored or on demand."""
    return [
        service.name
        for service in FEATURE_SERVICES.values()
        if feature in service.on_demand or feature in service.stored()
    ]


def _stored(view: FeatureView) -> list[dict[str, object]]:
    return [
        {
            "name": feature.name,
            "view": view.name,
            "dtype": feature.dtype,
            "unit": feature.unit,
            "window": feature.window,
            "description": feature.description,
            "null_means": feature.null_means,
            "owner": view.owner,
            "readers": readers(feature.name),
        }
        for feature in view.features
    ]


def _on_demand(name: str) -> dict[str, object]:
    feature = ON_DEMAND[name]
    return {
        "name": name,
        "view": ON_DEMAND_VIEW,
        "dtype": "float32",
        "unit": feature.unit,
        "window": feature.window,
        "description": feature.description,
        "null_means": feature.null_means,
        "owner": FEATURE_VIEWS[0].owner,
        "readers": readers(name),
    }
