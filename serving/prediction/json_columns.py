"""The columns of a JSON request, read without an object for each number: to make those takes longer than to judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import simdjson
from pydantic import ValidationError

from serving.prediction.given import CONTACT, Fields
from serving.prediction.schemas import BATCH, Asked

if TYPE_CHECKING:
    import pyarrow as pa

# `columns` stands here where they are named first, or after a campaign: other requests are not read twice to find out.
_BEGINNING = 256
# Python's values, or those of a parsed text, which are read where they lie.
Column = Sequence[Any] | simdjson.Array


def read_columns(body: bytes) -> tuple[Asked, dict[str, simdjson.Array]] | None:
    """What is asked, of which columns; None where the request is another one, or not plainly this one."""
    if b'"columns"' not in body[:_BEGINNING]:
        return None
    try:
        told = simdjson.Parser().parse(body)
    except (ValueError, RuntimeError):
        return None
    given = told.get("columns") if isinstance(told, simdjson.Object) else None
    if not isinstance(told, simdjson.Object) or not isinstance(given, simdjson.Object):
        return None
    lists = {name: given[name] for name in given}
    columns = {name: values for name, values in lists.items() if isinstance(values, simdjson.Array)}
    # A list within a list would be read as the numbers in it, and of two columns of one name the first.
    if not len(given) == len(columns) == body.count(b"["):
        return None
    if not all(1 <= len(values) <= BATCH for values in columns.values()):
        return None
    try:
        return Asked.model_validate({name: plain(told[name]) for name in told if name != "columns"}), columns
    except ValidationError:
        return None


def batch_of(fields: Fields, columns: Mapping[str, Column]) -> pa.RecordBatch | None:
    """The columns as an Arrow stream would bring them; None where a value is not plainly what its field asks for: which
    one it is, `given.from_columns` tells."""
    import pyarrow as pa

    if columns.keys() != set(fields.names) or len({len(values) for values in columns.values()}) > 1:
        return None
    text, moment = pa.string(), pa.timestamp("us", "UTC")
    try:
        arrays = [_numbers(columns[name]) for name in fields.numbers]
        # A text without a zone is no moment to Arrow either.
        arrays += [pa.array(plain(columns[name]), text).cast(moment) for name in fields.moments]
        arrays += [pa.array(plain(columns[CONTACT + name])) for name in fields.attributes]
        return pa.RecordBatch.from_arrays(arrays, fields.names)
    except (pa.ArrowException, TypeError, OverflowError):
        return None


def plain(value: Any) -> Any:
    """The same as Python's own objects."""
    if isinstance(value, simdjson.Array):
        return value.as_list()
    return value.as_dict() if isinstance(value, simdjson.Object) else value


def _numbers(values: Column) -> pa.Array:
    """Raises: TypeError, pa.ArrowException for what is neither a number nor null."""
    import pyarrow as pa

    if isinstance(values, simdjson.Array):
        try:
            return pa.array(np.frombuffer(values.as_buffer(of_type="d")))
        except TypeError:
            values = values.as_list()
    # To Arrow a truth value is a number.
    if bool in set(map(type, values)):
        raise TypeError
    return pa.array(values, pa.float64())
