"""Columns read out of the request are what Python's own objects would have been, or are left to those."""

from __future__ import annotations

import json
import random
from typing import Any

import numpy as np
import pytest

from feature_store.on_demand import MISSING_MOMENT
from serving.errors import Unprocessable
from serving.prediction import json_columns
from serving.prediction.given import Fields, from_columns

FIELDS = Fields(("orders",), ("first_at", "last_at"), {"age": "number", "gender": "category"})
ODD_MOMENTS = ["", "n", "null", "2026-02-30T00:00:00Z", "2026-01-01T00:00:00", "2026-01-01T00:00:00+02:00",
               "2026-01-01T00:00:00.5Z", '"' * 18, "\\" * 20, "\0" * 19 + "ull", "n" * 20, "é" * 10, ","]  # fmt: skip


def read(columns: dict[str, list[Any]]) -> Any:
    """The features as the fast way reads them; None where it leaves them to the other."""
    asked = json_columns.read_columns(json.dumps({"columns": columns}).encode())
    return None if asked is None else json_columns.features_in(FIELDS, asked[1], "UTC")


def moment(chance: random.Random) -> str:
    return f"20{chance.randint(10, 26)}-0{chance.randint(1, 9)}-1{chance.randint(0, 9)}T0{chance.randint(0, 9)}:00:00Z"


def some(chance: random.Random, odd: bool) -> dict[str, list[Any]]:
    count = chance.randint(1, 12)

    def drawn(usual: Any, *others: Any) -> list[Any]:
        kinds = [*[usual] * 9, *(others if odd else ())]
        return [None if chance.random() < 0.3 else chance.choice(kinds)() for _ in range(count)]

    def strange() -> str:
        return chance.choice(ODD_MOMENTS)

    return {
        "orders": drawn(lambda: chance.randint(0, 9), lambda: chance.choice([1.5, -0.0, 10**13, "1", True, 2**70])),
        "first_at": drawn(lambda: moment(chance), strange),
        "last_at": drawn(lambda: moment(chance), strange),
        "contact.age": drawn(lambda: chance.randint(18, 21), lambda: chance.choice([1e12, 2e12, 0.5, "old", False])),
        "contact.gender": drawn(lambda: chance.choice("fm"), lambda: chance.choice([1, 1.0, True, "é", ["f"]])),
    }


@pytest.mark.parametrize("odd", [False, True])
def test_either_way_of_reading_gives_the_same(odd: bool):
    chance, fast = random.Random(5), 0
    for _ in range(2_000):
        columns = some(chance, odd)
        found = read(columns)
        if found is None:
            continue
        fast += 1
        expected = from_columns(FIELDS, columns, "UTC")
        assert np.array_equal(found.matrix, expected.matrix, equal_nan=True)
        assert found.moments.tolist() == expected.moments.tolist()
        assert list(found.attributes) == list(expected.attributes)
    assert fast == 2_000 or (odd and fast > 100)


@pytest.mark.parametrize("odd", ODD_MOMENTS)
def test_what_is_no_moment_is_never_taken_for_one(odd: str):
    usual = "2026-03-01T00:00:00Z"
    for texts in ([usual, odd], [odd, usual], [odd, None], [None, odd, usual, None]):
        none = [None] * len(texts)
        columns = {"orders": none, "first_at": texts, "last_at": none, "contact.age": none, "contact.gender": none}
        try:
            expected = from_columns(FIELDS, columns, "UTC").moments.tolist()
        except Unprocessable:
            assert read(columns) is None
        else:
            found = read(columns)
            assert found is None or found.moments.tolist() == expected


def test_moments_alike_are_read_as_they_stand():
    texts = ["2026-03-01T00:00:00Z", None, "1969-12-31T23:59:59Z"]
    none = [None] * 3
    columns = {"orders": none, "first_at": texts, "last_at": none, "contact.age": none, "contact.gender": none}
    asked = json_columns.read_columns(json.dumps({"columns": columns}).encode())
    assert asked is not None
    assert json_columns._alike([asked[1]["first_at"], asked[1]["last_at"]]) is not None
    assert read(columns).moments[:, 0].tolist() == [1_772_323_200_000_000, MISSING_MOMENT, -1_000_000]
