"""The columns of a JSON request, read without an object for each number: to make those takes longer than to judge."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import simdjson
from numpy.typing import NDArray
from pydantic import ValidationError

from feature_store.attribute_columns import AttributeColumns
from feature_store.on_demand import MISSING_MOMENT
from feature_store.online import OnlineFeatures
from serving.prediction import arrow
from serving.prediction.given import CONTACT, NUMBER_TYPES, Faults, Fields, features_of
from serving.prediction.schemas import BATCH, MAX_FIELDS, MAX_NUMBER, Asked, PredictBatchRequest

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
    if not isinstance(told, simdjson.Object) or len(told) > len(PredictBatchRequest.model_fields):
        return None
    given = told.get("columns")
    # Looking a name up goes through all before it: that is done for no more names than a model may have.
    if not isinstance(given, simdjson.Object) or len(given) > MAX_FIELDS or len({*told}) != len(told):
        return None
    # Of a name that holds a NUL only what stands before it would be looked up.
    if any("\0" in name for name in chain(told, given)):
        return None
    lists = {name: given[name] for name in given}
    columns = {name: values for name, values in lists.items() if isinstance(values, simdjson.Array)}
    # A list within a list would be read as the numbers in it, and of two columns of one name the first.
    if not len(given) == len(columns) == np.count_nonzero(np.frombuffer(body, np.uint8) == ord("[")):
        return None
    if not all(1 <= len(values) <= BATCH for values in columns.values()):
        return None
    try:
        return Asked.model_validate({name: plain(told[name]) for name in told if name != "columns"}), columns
    except ValidationError:
        return None


def features_in(fields: Fields, columns: Mapping[str, Column], timezone: str) -> OnlineFeatures | None:
    """None where a value is not plainly what its field asks for: which one it is, `given.from_columns` tells."""
    import pyarrow as pa

    counts = {len(values) for values in columns.values()}
    if columns.keys() != set(fields.names) or len(counts) > 1:
        return None
    count, faults = max(counts, default=0), Faults()
    numbers = np.empty((len(fields.numbers), count))
    try:
        for position, name in enumerate(fields.numbers):
            numbers[position] = _numbers(columns[name])
        moments = _moments([columns[name] for name in fields.moments]).reshape(len(fields.moments), count)
        attributes = {
            name: _attribute(name, kind, columns[CONTACT + name], faults) for name, kind in fields.attributes.items()
        }
    # Half a character, as JSON can name one, is a UnicodeEncodeError.
    except (pa.ArrowException, TypeError, OverflowError, UnicodeEncodeError):
        return None
    if faults or (np.abs(numbers) > MAX_NUMBER).any():
        return None
    people = AttributeColumns(count, attributes)
    return features_of(fields, numbers.astype(np.float32).T, moments.T, people, timezone)


def plain(value: Any) -> Any:
    """The same as Python's own objects."""
    if isinstance(value, simdjson.Array):
        return value.as_list()
    return value.as_dict() if isinstance(value, simdjson.Object) else value


def _numbers(values: Column) -> NDArray[np.float64]:
    """NaN for null. Raises: TypeError, OverflowError for what is neither a number nor null."""
    if isinstance(values, simdjson.Array):
        try:
            return np.frombuffer(values.as_buffer(of_type="d"))
        except TypeError:
            values = values.as_list()
    if not set(map(type, values)) <= NUMBER_TYPES:
        raise TypeError
    numbers = np.array(values, np.float64)
    # Python reads NaN where JSON has none.
    if np.count_nonzero(np.isnan(numbers)) != values.count(None):
        raise TypeError
    return numbers


def _attribute(name: str, kind: str, values: Column, faults: Faults) -> tuple[Sequence[Any], NDArray[np.intp]]:
    """Its values, and which of them each row has. Raises: TypeError, OverflowError, UnicodeEncodeError,
    pa.ArrowException."""
    import pyarrow as pa

    if kind == "number":
        numbers, which = np.unique(_numbers(values), return_inverse=True)
        if (np.abs(numbers) > MAX_NUMBER).any():
            raise OverflowError
        return [None if math.isnan(number) else number for number in numbers.tolist()], which
    told = plain(values)
    # Of several types Arrow makes one: 1 beside 2.5 would be 1.0, which is another category.
    if len(kinds := {*map(type, told)} - {type(None)}) > 1 or list in kinds:
        raise TypeError
    return arrow.attribute_of(CONTACT + name, kind, pa.array(told), faults)


def _moments(columns: Sequence[Column]) -> NDArray[np.int64]:
    """One column after the other. Raises: pa.ArrowException, UnicodeEncodeError."""
    import pyarrow as pa

    told = _alike(columns)
    if told is None:
        told = pa.array(list(chain.from_iterable(map(plain, columns))), pa.string())
    # A text without a zone is no moment to Arrow either.
    moments = told.cast(pa.timestamp("us", "UTC")).view(pa.int64()).fill_null(int(MISSING_MOMENT))
    found: NDArray[np.int64] = moments.to_numpy()
    return found


def _alike(columns: Sequence[Column]) -> pa.Array | None:
    """The texts of the columns, one column after the other, as they stand in the request; None unless all of them are
    as long as the first, as moments written by one program are."""
    import pyarrow as pa

    parsed: list[Any] = [column for column in columns if isinstance(column, simdjson.Array)]
    text = b",".join(column.mini[1:-1] for column in parsed)
    length, count = text.find(b'"', text.find(b'"') + 1) - text.find(b'"') - 1, sum(map(len, columns))
    # A null is made as wide as a text: the NULs before its last letters are in no text, where JSON escapes them.
    wide = np.frombuffer(text.replace(b"n", b"\0" * max(length - 1, 0)) + b",", np.uint8)
    if length < 2 or len(wide) != (length + 3) * count:
        return None
    cells = wide.reshape(count, length + 3)
    known = cells[:, 0] == ord('"')
    ends = np.where(known, ord('"'), ord("l"))
    if not ((known | (cells[:, 0] == 0)) & (cells[:, -2] == ends) & (cells[:, -1] == ord(","))).all():
        return None
    buffers = (
        np.packbits(known, bitorder="little"),
        np.arange(0, length * count + 1, length, dtype=np.int32),
        cells[:, 1:-2].tobytes(),
    )
    return pa.Array.from_buffers(pa.string(), count, [pa.py_buffer(each) for each in buffers])
