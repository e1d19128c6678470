"""A contact's features as bytes: a fixed part of numbers and moments (little-endian, no padding), then its attributes
as JSON. The schema is a digest of the names, so bytes are never read by the wrong list of features."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feature_store.attribute_columns import attributes_of
from feature_store.feature_views import MOMENTS, NUMBERS
from feature_store.on_demand import MISSING_MOMENT


@dataclass(frozen=True)
class Layout:
    """The names in a row, in their order."""

    moments: tuple[str, ...]
    numbers: tuple[str, ...]

    @cached_property
    def schema(self) -> str:
        return hashlib.sha256(json.dumps([self.moments, self.numbers]).encode()).hexdigest()[:8]

    @cached_property
    def row(self) -> np.dtype[np.void]:
        moments, numbers = len(self.moments), len(self.numbers)
        return np.dtype([("snapshot_at", "<i8"), ("moments", "<i8", (moments,)), ("numbers", "<f4", (numbers,))])

    @cached_property
    def size(self) -> int:
        return self.row.itemsize

    @cached_property
    def empty(self) -> bytes:
        """The row of which nothing is known."""
        row = np.zeros((), self.row)
        row["numbers"] = np.nan
        row["moments"] = MISSING_MOMENT
        return row.tobytes()

    def pack(
        self,
        snapshot_at: int,
        numbers: NDArray[np.float32],
        moments: NDArray[np.int64],
        attributes: Sequence[str | None],
    ) -> list[bytes]:
        """One value a contact. `snapshot_at` and `moments` are microseconds since the epoch."""
        rows = np.empty(numbers.shape[0], self.row)
        rows["snapshot_at"] = snapshot_at
        rows["numbers"] = numbers
        rows["moments"] = moments
        fixed, size = rows.tobytes(), self.size
        starts = range(0, len(fixed), size)
        return [
            fixed[start : start + size] + (text.encode() if text else b"{}")
            for start, text in zip(starts, attributes, strict=True)
        ]

    def unpack(self, values: Sequence[bytes | None]) -> NDArray[np.void]:
        """(n,) of `row`, the empty row for None."""
        size, empty = self.size, self.empty
        return np.frombuffer(b"".join([value[:size] if value else empty for value in values]), self.row)

    def read_as(self, wanted: Layout, rows: NDArray[np.void]) -> NDArray[np.void]:
        """The rows in another layout: what both know, the rest missing."""
        out = np.frombuffer(wanted.empty * len(rows), wanted.row).copy()
        out["snapshot_at"] = rows["snapshot_at"]
        for part in ("moments", "numbers"):
            held = {name: position for position, name in enumerate(getattr(self, part))}
            for position, name in enumerate(getattr(wanted, part)):
                if name in held:
                    out[part][:, position] = rows[part][:, held[name]]
        return out

    def to_json(self) -> dict[str, list[str]]:
        return {"moments": list(self.moments), "numbers": list(self.numbers)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Layout:
        return cls(tuple(value["moments"]), tuple(value["numbers"]))


CURRENT = Layout(MOMENTS, NUMBERS)


@dataclass
class PackedAttributes(Sequence[Mapping[str, Any]]):
    """The attributes behind packed values, each parsed when it is first asked for; empty for None."""

    values: Sequence[bytes | None]
    sizes: Sequence[int]
    _parsed: dict[int, Mapping[str, Any]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(len(self)))]
        if index not in self._parsed:
            value = self.values[index]
            self._parsed[index] = attributes_of(value[self.sizes[index] :]) if value else {}
        return self._parsed[index]
