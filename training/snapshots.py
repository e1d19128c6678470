"""Training sets on disk: what a model was fitted on, as Parquet with the declaration of its inputs in the same file."""

from __future__ import annotations

import json
import os
from pathlib import Path

import polars as pl

from training.datasets import Dataset

DESCRIBED = "rapport"


def save_dataset(dataset: Dataset, folder: Path) -> Path:
    """The Parquet file, `<model>.parquet`, replaced whole: who reads meanwhile has the old set or the new one."""
    folder.mkdir(parents=True, exist_ok=True)
    described = {
        "model": dataset.model,
        "tenant_id": dataset.tenant_id,
        "inputs": [given.to_json() for given in dataset.inputs],
        "feature_service": dataset.feature_service,
        "digest": dataset.digest,
        "excluded": dict(dataset.excluded),
    }
    file = dataset_file(folder, dataset.model)
    beside = file.with_suffix(f".{os.getpid()}.writing")
    dataset.frame.write_parquet(beside, metadata={DESCRIBED: json.dumps(described)})
    os.replace(beside, file)
    return file


def load_dataset(folder: Path, model: str) -> Dataset:
    """The training set as it was saved. Raises FileNotFoundError when there is none."""
    from feature_store.transforms import InputColumn

    content = dataset_file(folder, model).read_bytes()
    described = json.loads(pl.read_parquet_metadata(content)[DESCRIBED])
    return Dataset(
        model=described["model"],
        tenant_id=described["tenant_id"],
        frame=pl.read_parquet(content),
        inputs=[InputColumn.from_json(given) for given in described["inputs"]],
        feature_service=described["feature_service"],
        digest=described["digest"],
        excluded=described["excluded"],
    )


def dataset_file(folder: Path, model: str) -> Path:
    return folder / f"{model}.parquet"
