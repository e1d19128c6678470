"""Staging, intermediate, features and marts, as dbt builds them; dbt's tests are checks of the assets they test."""

import os
import shutil
from collections.abc import Iterator
from typing import Any

import dagster as dg
from dagster_dbt import DbtCliResource, dbt_assets

from feature_store.settings import settings
from feature_store.warehouse import Warehouse, warehouse_at
from orchestration.lib.built import built_by, held_tenants, row_counts
from orchestration.lib.dbt_project import (
    PROJECT,
    dbt_environment,
    dbt_executable,
    manifest_path,
    project_digest,
    variables,
)
from orchestration.lib.dbt_translator import LayeredTranslator
from orchestration.lib.importing import TO_TRAIN, import_ahead
from orchestration.lib.lean_dbt import LeanDbt
from orchestration.lib.rebuilding import rebuilt
from orchestration.lib.writing import PATIENCE_SECONDS, only_writer
from orchestration.runtime.home import Home

ROW_COUNT = "dagster/row_count"
KEPT_BUILDS = 10


@dbt_assets(manifest=manifest_path(), dagster_dbt_translator=LayeredTranslator(), pool="warehouse", name="dbt")
def warehouse_models(context: dg.AssetExecutionContext, dbt: DbtCliResource) -> Iterator[Any]:
    told: list[Any] = []
    home = Home.from_environment()
    if any(key.path[0] == "models" for key in context.job_def.asset_layer.selected_asset_keys):
        import_ahead(TO_TRAIN)
    with only_writer(home, PATIENCE_SECONDS):
        forget_old_builds(home)
        try:
            counts = _build(context, dbt, warehouse_at(settings().warehouse), told)
        except Exception:
            # What was built is not kept; which claims failed is what people need to see.
            yield from (event for event in told if isinstance(event, dg.AssetCheckResult | dg.AssetCheckEvaluation))
            raise
    for event in told:
        yield _with_rows(event, counts)


def _build(
    context: dg.AssetExecutionContext, dbt: DbtCliResource, warehouse: Warehouse, told: list[Any]
) -> dict[str, int]:
    """Rows by output name after a build; `told` collects what dbt reports meanwhile. Tenants whose rows failed a test
    are held. Raises ClaimBroken when a test failed of rows that are no tenant's."""
    digest = project_digest()
    anew = built_by(warehouse) != {digest}
    command = [
        "build",
        "--exclude-resource-type",
        "unit_test",
        *variables(digest),
        *(["--full-refresh"] if anew else []),
    ]
    with rebuilt(warehouse, from_nothing=anew and not context.is_subset) as place:
        told.extend(dbt.cli(command, context=context).stream())
        held_tenants(place)
        return row_counts(place)


def forget_old_builds(home: Home) -> None:
    """dagster-dbt keeps a folder of artifacts for each build; the newest are enough to look into."""
    folders = sorted((home.path / "dbt" / "target").glob("dbt-*"), key=lambda one: one.stat().st_mtime)
    for folder in folders[:-KEPT_BUILDS]:
        shutil.rmtree(folder, ignore_errors=True)


def _with_rows(event: Any, counts: dict[str, int]) -> Any:
    """A model's event with the rows it has now."""
    if not isinstance(event, dg.Output) or event.output_name not in counts:
        return event
    metadata = dict(event.metadata) | {ROW_COUNT: counts[event.output_name]}
    return dg.Output(event.value, event.output_name, metadata=metadata, data_version=event.data_version)


def dbt_resource() -> DbtCliResource:
    """The dbt of this environment, on the project's own profile."""
    os.environ.update(dbt_environment(Home.from_environment()))
    return LeanDbt(
        project_dir=str(PROJECT),
        profiles_dir=str(PROJECT),
        dbt_executable=dbt_executable(),
        global_config_flags=["--no-use-colors"],
    )
