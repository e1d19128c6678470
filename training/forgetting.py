"""Taking erased people out of the training sets on disk."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import polars as pl

from training.snapshots import load_dataset, save_dataset


def forget_in_datasets(folder: Path, contact_ids: Iterable[str]) -> int:
    """How many rows of the training sets in the folder were about one of the contacts; they are gone. A set that cannot
    be read, or whose writer was killed, is removed: training makes it anew."""
    gone = pl.Series(sorted(contact_ids), dtype=pl.String)
    removed = 0
    for unfinished in folder.glob("*.writing"):
        unfinished.unlink(missing_ok=True)
    for file in folder.glob("*.parquet"):
        try:
            dataset = load_dataset(folder, file.stem)
        except (OSError, KeyError, ValueError, pl.exceptions.PolarsError):
            file.unlink(missing_ok=True)
            continue
        kept = dataset.rows(~pl.col("contact_id").cast(pl.String).is_in(gone))
        if kept.frame.height < dataset.frame.height:
            removed += dataset.frame.height - kept.frame.height
            save_dataset(kept, folder)
    return removed
