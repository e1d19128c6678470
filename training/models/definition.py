"""What every model file states, and the parameters they share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl

if TYPE_CHECKING:
    from feature_store.transforms import InputColumn
    from feature_store.warehouse import Warehouse

Params = Mapping[str, int | float]


@dataclass(frozen=True)
class Spine:
    """Who is judged when, and what became of it.

    `frame`: one row per unit with tenant_id, contact_id, event_timestamp (UTC, when the score would have been used),
    label (0/1) and label_known_at (UTC, when the outcome was settled), ordered by time; model columns may follow.
    later_label and later_known_at are those of a second, comparable outcome of the same contact, unknown at
    event_timestamp too, and null where there is none: two outcomes after one look tell how far people of one score
    differ (training.intervals).
    `excluded`: rows left out, by the stated rule that left them out.
    """

    frame: pl.DataFrame
    excluded: dict[str, int]


BuildSpine = Callable[["Warehouse", str, datetime, int], Spine]
BuildPipeline = Callable[[Params, "Sequence[InputColumn]", int, int], Any]


@dataclass(frozen=True)
class ModelDefinition:
    """One registered model. `unit` and `label` say in words what a row is and what 1 means, `not_for` whom or what it
    was not learnt from.

    `build_spine(warehouse, tenant_id, now, max_rows)`; `build_pipeline(params, inputs, seed, threads)` returns an
    unfitted estimator; `rule(frame)` is the recency/frequency rule every model must beat, in [0, 1], one per row, of a
    frame that has days_since_last_* beside the stored features.
    `scale` says how people read a score: as a percentile of the reference, or as the probability in per cent.
    `active_days`: only a contact with a read, an inbound message or an order in so many days is asked about; None:
    everybody is.
    """

    name: str
    feature_service: str
    unit: str
    label: str
    not_for: str
    positive: str
    params: Params
    tiers: dict[str, float]
    scale: str
    build_spine: BuildSpine
    build_pipeline: BuildPipeline
    rule: Callable[[pl.DataFrame], npt.NDArray[np.float64]]
    active_days: int | None = None

    def score_by_rule(self, frame: pl.DataFrame) -> npt.NDArray[np.float64]:
        """The rule over rows as retrieval returns them, (n,)."""
        return self.rule(with_days_since(frame))


def with_days_since(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with days_since_last_* (floats) beside the moments they are counted from."""
    signs = [sign for sign in ("sent", "read", "inbound", "order") if f"last_{sign}_at" in frame.columns]
    ages = ((pl.col("event_timestamp") - pl.col(f"last_{sign}_at")).dt.total_seconds() / 86_400 for sign in signs)
    return frame.with_columns(age.alias(f"days_since_last_{sign}") for sign, age in zip(signs, ages, strict=True))


def column(frame: pl.DataFrame, name: str, missing: float = 0.0) -> npt.NDArray[np.float64]:
    """A feature as floats, (n,), with `missing` where it is not known."""
    if name not in frame.columns:
        return np.full(frame.height, missing)
    return frame[name].cast(pl.Float64).fill_nan(None).fill_null(missing).to_numpy()


def recency(days: npt.NDArray[np.float64], half_life_days: float) -> npt.NDArray[np.float64]:
    """1 for today, halved every `half_life_days`."""
    return np.asarray(np.exp2(-np.maximum(days, 0.0) / half_life_days))
