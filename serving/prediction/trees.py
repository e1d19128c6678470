"""Boosted trees over many rows at once, without a branch: what a walk from node to node loses to mispredicted jumps
costs several times the work itself.

Every tree is laid out complete to the same depth. Each distinct condition is asked of all rows in one comparison and
kept as a bit a row; which leaf a row falls into is then worked out for eight rows at a time by bitwise selection.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Twice the conditions with each level: beyond this one, walking is quicker.
MAX_DEPTH = 6
# Rows judged at a time: what they need stays in the processor's cache.
_ROWS = 1_024


@dataclass(frozen=True, eq=False)
class BoostedTrees:
    """A condition is an input less than a threshold, (conditions,) and (conditions, 1); of the first `missing` ones a
    missing value fulfils it. `asked[level]`: (2**level, trees), the condition at each place of a level, left to right;
    who fulfils goes right. `leaves`: (trees * 2**depth,), the places left to right, tree by tree."""

    base: float
    inputs: NDArray[np.intp]
    thresholds: NDArray[np.float32]
    missing: int
    asked: tuple[NDArray[np.intp], ...]
    leaves: NDArray[np.float32]

    @property
    def depth(self) -> int:
        return len(self.asked)

    def probability(self, matrix: NDArray[np.float32]) -> NDArray[np.float64]:
        """Of the positive class, before calibration, (n,), from (n, inputs); to 1e-6 what the graph gives."""
        margin = np.full(len(matrix), self.base)
        for start in range(0, len(matrix), _ROWS):
            margin[start : start + _ROWS] += self._summed(matrix[start : start + _ROWS])
        probability: NDArray[np.float64] = 1 / (1 + np.exp(-margin))
        return probability

    def _summed(self, matrix: NDArray[np.float32]) -> NDArray[np.float32]:
        fulfilled = self._conditions(np.ascontiguousarray(matrix.T))
        taken: list[NDArray[np.uint8]] = []
        for conditions in self.asked:
            left_to_right = fulfilled.take(conditions, 0)
            # The turns taken above leave one of two halves, again and again.
            for turned in taken:
                half = len(left_to_right) // 2
                left, right = left_to_right[:half], left_to_right[half:]
                right ^= left
                right &= turned
                left ^= right
                left_to_right = left
            taken.append(left_to_right[0])
        places = np.unpackbits(taken[0], axis=1)
        for turned in taken[1:]:
            # Thirty times as quick as to shift.
            places += places
            places |= np.unpackbits(turned, axis=1)
        summed: NDArray[np.float32] = self.leaves.take(places + self._first).sum(axis=0)
        # The last byte may hold more than the last row.
        return summed[: len(matrix)]

    @cached_property
    def _first(self) -> NDArray[np.uint32]:
        """Where in `leaves` each tree begins, (trees, 1)."""
        return np.arange(0, len(self.leaves), 2**self.depth, dtype=np.uint32)[:, None]

    def _conditions(self, columns: NDArray[np.float32]) -> NDArray[np.uint8]:
        """(conditions, rows / 8), a bit for each row."""
        values, missing = columns.take(self.inputs, 0), self.missing
        fulfilled = values < self.thresholds
        np.greater_equal(values[:missing], self.thresholds[:missing], out=fulfilled[:missing])
        packed = np.packbits(fulfilled, axis=1)
        np.invert(packed[:missing], out=packed[:missing])
        return packed


def boosted_trees(graph: bytes) -> BoostedTrees | None:
    """The trees of a bundle's graph; None where it is anything but one shallow boosted classifier of two classes."""
    import onnx

    nodes = onnx.load_from_string(graph).graph.node
    if len(nodes) != 1 or nodes[0].op_type != "TreeEnsembleClassifier":
        return None
    told = {one.name: onnx.helper.get_attribute_value(one) for one in nodes[0].attribute}
    two_classes = told.get("post_transform") == b"LOGISTIC" and set(told["class_ids"]) == {0}
    if not two_classes or set(told["nodes_modes"]) != {b"BRANCH_LT", b"LEAF"} or len(told.get("base_values", ())) != 1:
        return None
    return _laid_out(told)


def _laid_out(told: Mapping[str, Any]) -> BoostedTrees | None:
    """None where a tree is too deep, or none asks for anything."""
    names = list(zip(told["nodes_treeids"], told["nodes_nodeids"], strict=True))
    position = {name: each for each, name in enumerate(names)}
    is_leaf = np.array(told["nodes_modes"]) == b"LEAF"
    weights = np.zeros(len(names), np.float32)
    weights[[position[name] for name in zip(told["class_treeids"], told["class_nodeids"], strict=True)]] = told[
        "class_weights"
    ]
    # Below a leaf stands the leaf itself.
    below = [
        np.array([each if leaf else position[tree, child] for each, leaf, (tree, _), child in children])
        for children in (
            list(zip(range(len(names)), is_leaf.tolist(), names, told[to], strict=True))
            for to in ("nodes_falsenodeids", "nodes_truenodeids")
        )
    ]
    # Those that a missing value fulfils come first.
    described = np.array(
        [-np.array(told["nodes_missing_value_tracks_true"]), told["nodes_featureids"], told["nodes_values"]], np.float64
    ).T
    distinct, of_node = np.unique(described, axis=0, return_inverse=True)
    missing_fulfils, inputs, thresholds = distinct.T
    roots = np.array([each for each, (_, number) in enumerate(names) if number == 0])
    # Where there was little to learn from, many a tree is nothing but a leaf.
    base = float(told["base_values"][0]) + float(weights[roots[is_leaf[roots]]].sum())
    level = roots[~is_leaf[roots]][None, :]
    if not level.size:
        return None
    asked: list[NDArray[np.intp]] = []
    while not is_leaf[level].all():
        if len(asked) == MAX_DEPTH:
            return None
        asked.append(of_node[level])
        level = np.stack([children[level] for children in below], axis=1).reshape(2 * len(level), -1)
    return BoostedTrees(
        base,
        inputs.astype(np.intp),
        thresholds.astype(np.float32)[:, None],
        int(np.count_nonzero(missing_fulfils)),
        tuple(asked),
        weights[level].T.ravel(),
    )
