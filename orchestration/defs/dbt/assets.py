"""Staging, intermediate, features and marts, as dbt builds them; dbt's tests are checks of the assets they test."""

import os
from collections.abc import Iterator
from typing import Any

import dagster as dg
from dagster_dbt import DbtCliResource, dbt_assets

from feature_store.settings import settings
from feature_store.warehouse import DuckDBWarehouse, warehouse_at
from orchestration.lib.dbt_project import PROJECT, dbt_environment, dbt_executable, manifest_path
from orchestration.lib.dbt_translator import LayeredTranslator
from orchestration.lib.rebuilding import rebuilt
from orchestration.runtime.home import Home


@dbt_assets(manifest=manifest_path(), dagster_dbt_translator=LayeredTranslator(), pool="warehouse", name="dbt")
def warehouse_models(context: dg.AssetExecutionContext, dbt: DbtCliResource) -> Iterator[Any]:
    # Readers keep the last good marts until every model is built and every test has passed.
    warehouse = warehouse_at(settings().warehouse)
    assert isinstance(warehouse, DuckDBWarehouse)  # noqa: S101 - the only kind that is rebuilt in a copy
    with rebuilt(warehouse):
        yield from dbt.cli(["build"], context=context).stream()


def dbt_resource() -> DbtCliResource:
    """The dbt of this environment, on the project's own profile."""
    os.environ.update(dbt_environment(Home.from_environment()))
    return DbtCliResource(
        project_dir=str(PROJECT),
        profiles_dir=str(PROJECT),
        dbt_executable=dbt_executable(),
        global_config_flags=["--no-use-colors"],
    )
