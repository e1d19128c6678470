"""What each field adds to one contact's probability: Shapley values, by sampling orders of the fields.

A fitted tree would give exact values; an ONNX graph only answers questions. So a person is built up field by field from
the usual one, in random orders, each used forwards and backwards, and a field is credited with the mean step it makes.
Every order's steps add up to the whole difference, and so do the means.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.prediction.bundles import Bundle, CardMissing
from serving.prediction.schemas import Contribution, Explanation

SEED = 20_260_101
MAX_PERMUTATIONS = 64
# Bounds the time: about 20 ms of a boosted forest's on one core.
MAX_ROWS = 4_000


def explain(bundle: Bundle, row: NDArray[np.float32], *, seed: int = SEED) -> Explanation:
    """What makes the probability of `row`, a row of the bundle's matrix. Raises: CardMissing, BundleBroken."""
    fields = _fields(bundle)
    usual = np.full(len(row), np.nan, np.float32)
    for entry in fields:
        usual[entry["columns"]] = [np.nan if value is None else value for value in entry["reference"]]
    differing = [entry for entry in fields if not _equal(row, usual, entry["columns"])]
    count = len(differing)
    base = float(bundle.probability(usual[None])[0])
    if not count:
        return Explanation(base=base, contributions=[], permutations=0)
    pairs = max(1, min(MAX_PERMUTATIONS, MAX_ROWS // count) // 2)
    chance = np.random.default_rng(seed)
    forwards = np.stack([chance.permutation(count) for _ in range(pairs)])
    orders = np.concatenate([forwards, forwards[:, ::-1]])
    # known[o, k] tells which fields are the person's own after k steps of order o.
    steps = np.argsort(orders, axis=1)
    known = steps[:, None, :] < np.arange(1, count + 1)[None, :, None]
    owner = np.full(len(row), count)
    for position, entry in enumerate(differing):
        owner[entry["columns"]] = position
    # A column nobody owns holds the same in both.
    mask = np.concatenate([known.reshape(-1, count), np.zeros((len(orders) * count, 1), bool)], axis=1)[:, owner]
    reached = bundle.probability(np.where(mask, row, usual).astype(np.float32)).reshape(len(orders), count)
    made = np.diff(reached, axis=1, prepend=base)
    values = np.zeros(count)
    np.add.at(values, orders.ravel(), made.ravel())
    values /= len(orders)
    strongest = np.argsort(-np.abs(values), kind="stable")
    contributions = [
        _contribution(differing[position], row, float(values[position])) for position in strongest if values[position]
    ]
    return Explanation(base=base, contributions=contributions, permutations=len(orders))


def _fields(bundle: Bundle) -> list[dict[str, Any]]:
    """The card's fields. Raises: CardMissing when they are not those of the bundle's inputs."""
    fields: list[dict[str, Any]] = list(bundle.card.get("importance", []))
    columns = sorted(column for entry in fields for column in entry["columns"])
    if columns != list(range(len(bundle.inputs))):
        raise CardMissing("the card's fields are not those of the model")
    return fields


def _equal(row: NDArray[np.float32], usual: NDArray[np.float32], columns: list[int]) -> bool:
    return bool(np.array_equal(row[columns], usual[columns], equal_nan=True))


def _contribution(entry: dict[str, Any], row: NDArray[np.float32], value: float) -> Contribution:
    single = len(entry["columns"]) == 1
    own = float(row[entry["columns"][0]]) if single else np.nan
    usual = entry["reference"][0] if single else None
    return Contribution(
        field=entry["field"],
        source=entry["source"],
        value=None if np.isnan(own) else own,
        usual=usual,
        contribution=value,
    )
