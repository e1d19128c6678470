"""What the models may know about a contact, and when they knew it.

    from feature_store import FEATURE_SERVICES, get_historical_features, warehouse_at

    frame = get_historical_features(warehouse_at(location), spine, FEATURE_SERVICES["churn_v1"])

Each name is imported from its module when it is first asked for: reading online must not load a warehouse's libraries.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from feature_store.description import describe
    from feature_store.feature_services import FEATURE_SERVICES, FeatureService
    from feature_store.feature_view import Feature, FeatureView
    from feature_store.feature_views import FEATURE_VIEWS
    from feature_store.materialization import MaterializedSnapshot, materialize
    from feature_store.online import (
        OnlineFeatures,
        forget,
        get_online_features,
        get_online_features_async,
    )
    from feature_store.retrieval import InvalidSpine, get_historical_features
    from feature_store.warehouse import DuckDBWarehouse, PostgresWarehouse, Warehouse, warehouse_at

__all__ = [
    "FEATURE_SERVICES",
    "FEATURE_VIEWS",
    "DuckDBWarehouse",
    "Feature",
    "FeatureService",
    "FeatureView",
    "InvalidSpine",
    "MaterializedSnapshot",
    "OnlineFeatures",
    "PostgresWarehouse",
    "Warehouse",
    "describe",
    "forget",
    "get_historical_features",
    "get_online_features",
    "get_online_features_async",
    "materialize",
    "warehouse_at",
]

_MODULES = {
    "description": ("describe",),
    "feature_services": ("FEATURE_SERVICES", "FeatureService"),
    "feature_view": ("Feature", "FeatureView"),
    "feature_views": ("FEATURE_VIEWS",),
    "materialization": ("MaterializedSnapshot", "materialize"),
    "online": ("OnlineFeatures", "forget", "get_online_features", "get_online_features_async"),
    "retrieval": ("InvalidSpine", "get_historical_features"),
    "warehouse": ("DuckDBWarehouse", "PostgresWarehouse", "Warehouse", "warehouse_at"),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return __all__
