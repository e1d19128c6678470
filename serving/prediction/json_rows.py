"""Many JSON objects of the same fields, put together from whole columns: to make a dict a row takes longer than to
judge the rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import orjson
from numpy.typing import NDArray


def numbers(values: NDArray[np.int64] | NDArray[np.float64]) -> list[bytes]:
    """Each as JSON, null for what is no number."""
    return orjson.dumps(np.ascontiguousarray(values), option=orjson.OPT_SERIALIZE_NUMPY)[1:-1].split(b",")


def array_of(count: int, *pieces: bytes | Sequence[bytes]) -> bytes:
    """A JSON array of `count` objects. `pieces` make up an object, in order: bytes that stand in each, and columns of
    `count` values."""
    row: list[bytes | Sequence[bytes]] = []
    for piece in (*pieces, b","):
        if row and isinstance(piece, bytes) and isinstance(row[-1], bytes):
            row[-1] += piece
        else:
            row.append(piece)
    parts = [piece if isinstance(piece, bytes) else b"" for piece in row] * count
    for position, piece in enumerate(row):
        if not isinstance(piece, bytes):
            parts[position :: len(row)] = piece
    return b"[%b]" % b"".join(parts)[:-1]
