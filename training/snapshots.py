"""Training sets on disk: what a model was fitted on, kept as Parquet beside the declaration of its inputs."""

from __future__ import annotations

import json
import os
from pathlib import Path

import polars as pl

from training.datasets import Dataset


def save_dataset(dataset: Dataset, folder: Path) -> Path:
    """The Parquet file, replaced whole. Two files: `<model>.parquet` and `<model>.json`, tied by the digest."""
    folder.mkdir(parents=True, exist_ok=True)
    described = {
        "model": dataset.model,
        "tenant_id": dataset.tenant_id,
        "inputs": [given.to_json() for given in dataset.inputs],
        "feature_service": dataset.feature_service,
        "digest": dataset.digest,
        "excluded": dict(dataset.excluded),
    }
    rows = folder / f"{dataset.model}.parquet"
    for path, write in (
        (rows, dataset.frame.write_parquet),
        (folder / f"{dataset.model}.json", lambda beside: beside.write_text(json.dumps(described, indent=1))),
    ):
        beside = path.with_suffix(f".{os.getpid()}.writing")
        write(beside)
        os.replace(beside, path)
    return rows


def load_dataset(folder: Path, model: str) -> Dataset:
    """The training set as it was saved. Raises FileNotFoundError when there is none."""
    from feature_store.transforms import InputColumn

    described = json.loads((folder / f"{model}.json").read_text())
    return Dataset(
        model=described["model"],
        tenant_id=described["tenant_id"],
        frame=pl.read_parquet(folder / f"{model}.parquet"),
        inputs=[InputColumn.from_json(given) for given in described["inputs"]],
        feature_service=described["feature_service"],
        digest=described["digest"],
        excluded=described["excluded"],
    )
