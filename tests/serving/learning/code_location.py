"""A code location with the names of the product's: job `train`, tenant partitions, a dataset and a model each.

How long a step takes, and whether it fails, is told by files in the folder LEARNING_TEST_FOLDER.
"""

import os
import time
from pathlib import Path

import dagster as dg

tenants = dg.DynamicPartitionsDefinition(name="tenant")
FOLDER = Path(os.environ["LEARNING_TEST_FOLDER"])


def _step(kind: str, name: str, deps: list[list[str]]) -> dg.AssetsDefinition:
    @dg.asset(key=[kind, name], deps=deps, partitions_def=tenants)
    def step(context: dg.AssetExecutionContext) -> None:
        while (FOLDER / f"hold-{context.partition_key}-{name}").exists():
            time.sleep(0.05)
        if (FOLDER / f"fail-{context.partition_key}-{name}").exists():
            raise RuntimeError("told to fail")

    return step


DATASETS = [_step("training", f"{name}_dataset", []) for name in ("lead_scoring", "churn", "engagement")]
MODELS = [_step("models", name, [["training", f"{name}_dataset"]]) for name in ("lead_scoring", "churn", "engagement")]
defs = dg.Definitions(
    assets=[*DATASETS, *MODELS],
    jobs=[
        dg.define_asset_job("train", selection=dg.AssetSelection.all(), partitions_def=tenants),
        dg.define_asset_job("daily", selection=dg.AssetSelection.assets(["training", "churn_dataset"]),
                            partitions_def=tenants),
    ],
    executor=dg.in_process_executor,
)  # fmt: skip
