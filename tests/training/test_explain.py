"""What a model leans on."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from feature_store.transforms import InputColumn
from training.explain import field_importance
from training.metrics import auc

INPUTS = [InputColumn(name, "feature", name) for name in ("reads", "orders", "constant", "unknown")]
MATRIX = np.column_stack([np.arange(400) % 7, np.arange(400) % 2, np.full(400, 3), np.full(400, np.nan)]).astype(
    np.float32
)
LABELS = (MATRIX[:, 0] > 3).astype(np.int8)


def _predict(matrix: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    assert len(matrix), "no model knows what to make of no rows"
    return matrix[:, 0].astype(np.float64) + matrix[:, 1]


class TestFieldImportance:
    def test_is_the_auc_lost_by_shuffling(self) -> None:
        found = {entry["field"]: entry for entry in field_importance(_predict, MATRIX, LABELS, INPUTS, seed=1)}
        rng = np.random.default_rng(1)
        rows = rng.permutation(400)
        shuffled = MATRIX[rows]
        shuffled[:, 0] = shuffled[rng.permutation(400), 0]
        lost = auc(LABELS, _predict(MATRIX)) - auc(LABELS[rows], _predict(shuffled))
        assert found["reads"]["auc_drop"] == lost > 0.2

    def test_a_field_with_one_value_has_none(self) -> None:
        found = {entry["field"]: entry for entry in field_importance(_predict, MATRIX, LABELS, INPUTS, seed=1)}
        assert (found["constant"]["auc_drop"], found["unknown"]["auc_drop"]) == (0.0, 0.0)
        assert found["unknown"]["reference"] == [None]

    def test_the_same_however_many_ask(self) -> None:
        alone, together = (field_importance(_predict, MATRIX, LABELS, INPUTS, seed=1, threads=n) for n in (1, 3))
        assert alone == together
