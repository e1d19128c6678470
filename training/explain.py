"""Which inputs a model leans on, and which of them moved one person's probability."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from training.metrics import auc

if TYPE_CHECKING:
    from feature_store.transforms import InputColumn

Predict = Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float64]]


def field_importance(
    predict: Predict,
    matrix: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int8],
    inputs: Sequence[InputColumn],
    *,
    seed: int,
    max_rows: int = 4_000,
    threads: int = 1,
) -> list[dict[str, Any]]:
    """One entry per field, most important first: the AUC lost when the field's columns are shuffled together.

    `columns` are its positions in the matrix and `reference` its usual values (median; NaN becomes null), which
    `drivers` puts in a person's place to see what the field does for them. Up to `threads` threads call `predict`.
    """
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(matrix))[:max_rows]
    sample, outcome = matrix[rows], labels[rows]
    usual = predict(sample)
    whole = auc(outcome, usual)
    fields: dict[tuple[str, str], list[int]] = {}
    for position, given in enumerate(inputs):
        fields.setdefault((given.source, given.field), []).append(position)

    def dropped(columns: list[int], order: npt.NDArray[np.int64]) -> float:
        values = sample[:, columns]
        dealt = values[order]
        # Only who was dealt another value is judged anew: of most fields most people have the same one.
        other = ~((dealt == values) | (np.isnan(dealt) & np.isnan(values))).all(axis=1)
        if not other.any():
            return 0.0
        shuffled = sample[other]
        shuffled[:, columns] = dealt[other]
        told = usual.copy()
        told[other] = predict(shuffled)
        return whole - auc(outcome, told)

    orders = [rng.permutation(len(sample)) for _ in fields]
    with ThreadPoolExecutor(threads) as pool:
        drops = list(pool.map(dropped, fields.values(), orders))
    found = [
        {
            "field": name,
            "source": source,
            "auc_drop": drop,
            "columns": columns,
            "reference": [_median(sample[:, column]) for column in columns],
        }
        for ((source, name), columns), drop in zip(fields.items(), drops, strict=True)
    ]
    return sorted(found, key=lambda entry: (-float(entry["auc_drop"]), str(entry["field"])))


def _median(values: npt.NDArray[np.float32]) -> float | None:
    known = values[~np.isnan(values)]
    return float(np.median(known)) if len(known) else None


def _about_contact(entry: Mapping[str, Any]) -> bool:
    return entry["source"] != "campaign_attribute" and not str(entry["field"]).startswith("send_")


def drivers(
    predict: Predict,
    matrix: npt.NDArray[np.float32],
    probabilities: npt.NDArray[np.float64],
    importance: Sequence[Mapping[str, Any]],
    *,
    fields: int = 8,
    top: int = 3,
) -> list[list[dict[str, Any]]]:
    """For each row its `top` strongest fields; effect is its probability minus what the usual value would give.

    Looks at the `fields` most important fields about the contact; what is sent, and when, tells no two contacts apart.
    """
    about_contact = [entry for entry in importance if _about_contact(entry) and entry["auc_drop"] > 0][:fields]
    if not about_contact or not len(matrix):
        return [[] for _ in range(len(matrix))]
    effects = np.empty((len(matrix), len(about_contact)))
    for index, entry in enumerate(about_contact):
        usual = matrix.copy()
        usual[:, entry["columns"]] = [np.nan if value is None else value for value in entry["reference"]]
        effects[:, index] = probabilities - predict(usual)
    strongest = np.argsort(-np.abs(effects), axis=1, kind="stable")[:, :top]
    names = [str(entry["field"]) for entry in about_contact]
    single = [entry["columns"][0] if len(entry["columns"]) == 1 else None for entry in about_contact]
    rounded = np.round(effects, 4)
    listed = []
    for row, order in enumerate(strongest):
        reasons: list[dict[str, Any]] = []
        for index in order:
            effect = float(rounded[row, index])
            if effect == 0.0:
                continue
            column = single[index]
            value = None if column is None or np.isnan(matrix[row, column]) else round(float(matrix[row, column]), 3)
            reasons.append({"field": names[index], "value": value, "effect": effect})
        listed.append(reasons)
    return listed
