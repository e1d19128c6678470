"""A tenant that no longer has labels enough is not taught from the rows of an earlier day."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from orchestration.defs.training.assets import DATASETS, MODEL_NAMES, MODELS, dataset_folder
from orchestration.lib.partitions import TenantRef, tenant_of, tenants
from tests.training.conftest import START, tracking_uri, warehouse  # noqa: F401 - fixtures
from training.snapshots import dataset_file, save_dataset
from training.synthetic import TENANT_ID, synthetic_dataset

SLUG = "bookshop"
ENGAGEMENT = MODEL_NAMES.index("engagement")


@pytest.fixture
def tenant(
    warehouse: Any,  # noqa: F811
    database: Any,
    tracking_uri: str,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[TenantRef]:
    """A tenant whose warehouse holds no send at all."""
    from feature_store.settings import settings

    database.add_tenant(SLUG, id=TENANT_ID)
    monkeypatch.setenv("RAPPORT_HOME", os.fspath(tmp_path))
    monkeypatch.setenv("FEATURE_STORE_OPERATIONAL_URL", database.etl_read)
    monkeypatch.setenv("FEATURE_STORE_REDIS_URL", "redis://127.0.0.1:9/0")
    monkeypatch.setenv("FEATURE_STORE_WAREHOUSE", str(warehouse.path))
    monkeypatch.setenv("TRAINING_TRACKING_URI", tracking_uri)
    settings.cache_clear()
    yield tenant_of(SLUG)
    settings.cache_clear()


def told(assets: list[dg.AssetsDefinition]) -> dict[str, Any]:
    """What the tenant's engagement asset among them says of its run."""
    asset = assets[ENGAGEMENT]
    with dg.instance_for_test() as instance:
        instance.add_dynamic_partitions(tenants.name or "", [SLUG])
        done = dg.materialize([asset], partition_key=SLUG, instance=instance)
    [event] = done.asset_materializations_for_node(asset.node_def.name)
    return {name: value.value for name, value in event.metadata.items()}


def test_rows_of_an_earlier_day_are_gone_and_the_model_abstains(tenant: TenantRef) -> None:
    file = dataset_file(dataset_folder(tenant), "engagement")
    save_dataset(synthetic_dataset("engagement", 50, 4, seed=1, start=START)[0], dataset_folder(tenant))
    assert file.exists()
    found = told(DATASETS)
    assert found["rows"] == 0
    assert "label" in found["abstains"]
    assert not file.exists()
    assert told(MODELS) == {"outcome": "abstained: too few labels"}
