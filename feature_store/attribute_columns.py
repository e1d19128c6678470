"""Attributes as JSON says them, and those of many contacts at once, a column each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray


def attributes_of(text: str | bytes) -> Any:
    """The JSON text's object. A number that no float holds is infinite. Raises ValueError for what is no JSON."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return json.loads(text, parse_int=float)


@dataclass(frozen=True)
class AttributeColumns(Sequence[Mapping[str, Any]]):
    """The attributes of `rows` contacts: of each attribute some values, and which of them each contact has, (rows,).
    There are few values and many contacts, as a rule."""

    rows: int
    columns: Mapping[str, tuple[Sequence[Any], NDArray[np.intp]]]

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(self.rows))]
        return {name: values[which[index]] for name, (values, which) in self.columns.items()}
