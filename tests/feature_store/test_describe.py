"""What notebooks import, and what it says of the features."""

from __future__ import annotations

import subprocess
import sys

import polars as pl
import pytest

import feature_store
from feature_store import FEATURE_SERVICES, FEATURE_VIEWS, describe
from feature_store.on_demand import ON_DEMAND


class TestDescribe:
    def test_everything_is_one_row_a_feature(self):
        frame = describe()

        assert frame.height == sum(len(view.features) for view in FEATURE_VIEWS) + len(ON_DEMAND)
        assert frame.null_count().row(0) == (0,) * frame.width
        assert frame["name"].is_unique().all()

    @pytest.mark.parametrize("service", FEATURE_SERVICES.values(), ids=lambda service: service.name)
    def test_a_service_begins_with_its_inputs_in_the_models_order(self, service):
        frame = describe(service)

        inputs = [*service.features, *service.on_demand]
        assert frame["name"].to_list()[: len(inputs)] == inputs
        assert set(frame["name"]) == {*inputs, *service.stored()}
        assert frame["readers"].list.contains(service.name).all()

    @pytest.mark.parametrize("view", FEATURE_VIEWS, ids=lambda view: view.name)
    def test_a_view_is_its_features(self, view):
        frame = describe(view.name)

        assert frame["name"].to_list() == [feature.name for feature in view.features]
        assert frame.select(pl.col("view", "owner").unique()).row(0) == (view.name, view.owner)

    def test_a_feature_says_what_it_is(self):
        row = describe().row(by_predicate=pl.col("name") == "read_rate_30d", named=True)

        assert row == {
            "name": "read_rate_30d",
            "view": "contact_messaging_daily",
            "dtype": "float32",
            "unit": "rate",
            "window": "30 days",
            "description": "Share of the last 30 days' messages that was read by now.",
            "null_means": "Nothing was sent in the window.",
            "owner": "team:data",
            "readers": ["lead_scoring_v1", "churn_v1", "engagement_v1"],
        }

    def test_an_unknown_name_lists_the_known_ones(self):
        with pytest.raises(KeyError, match=r"churn_v2.*churn_v1.*contact_profile"):
            describe("churn_v2")


class TestExports:
    def test_no_module_hides_a_name_once_it_is_loaded(self):
        program = (
            "import importlib, pkgutil, feature_store\n"
            "for module in pkgutil.iter_modules(feature_store.__path__):\n"
            "    importlib.import_module(f'feature_store.{module.name}')\n"
            "kinds = {name: type(getattr(feature_store, name)).__name__ for name in feature_store.__all__}\n"
            "print([name for name, kind in kinds.items() if kind == 'module'])\n"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "[]"

    def test_an_unknown_name_is_an_attribute_error(self):
        with pytest.raises(AttributeError, match="nothing_like_it"):
            feature_store.nothing_like_it  # noqa: B018

    def test_importing_the_package_loads_nothing_heavy(self):
        program = "import sys, feature_store; print([m for m in sys.modules if m.startswith('feature_store.')])"
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "[]"
