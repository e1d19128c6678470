"""Features that a caller gives, rather than the store: each named field checked, every fault told with its row."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feature_store.attribute_columns import AttributeColumns
from feature_store.on_demand import MISSING_MOMENT, ON_DEMAND
from feature_store.online import EPOCH, MICROSECOND, OnlineFeatures
from feature_store.transforms import InputColumn
from serving.errors import Unprocessable
from serving.prediction.schemas import MAX_NAME, MAX_NUMBER

MAX_FAULTS = 20
CONTACT = "contact."
NUMBER_TYPES = {int, float, type(None)}
_SCALARS = (str, int, float, bool, type(None))


@dataclass(frozen=True)
class Fields:
    """What a model must be told: stored numbers, moments (`*_at`), and attributes of the contact by their kind."""

    numbers: tuple[str, ...]
    moments: tuple[str, ...]
    attributes: Mapping[str, str]

    @property
    def names(self) -> list[str]:
        return [*self.numbers, *self.moments, *(CONTACT + name for name in self.attributes)]


@lru_cache(maxsize=256)
def fields_of(inputs: tuple[InputColumn, ...]) -> Fields:
    numbers = {each.field for each in inputs if each.source == "feature"}
    needs = {need for each in inputs if each.source == "on_demand" for need in ON_DEMAND[each.field].needs}
    moments = {need for need in needs if need.endswith("_at")}
    attributes = _kinds(inputs, "contact_attribute")
    return Fields(tuple(sorted(numbers | (needs - moments))), tuple(sorted(moments)), attributes)


def check_campaign(inputs: Sequence[InputColumn], attributes: Mapping[str, Any]) -> None:
    """Raises: Unprocessable naming the campaign's attributes that the model cannot read. What it does not know it does
    not look at: campaigns have attributes for other purposes."""
    faults = Faults()
    for name, kind in _kinds(inputs, "campaign_attribute").items():
        found = Faults()
        check_attribute(name, kind, [attributes.get(name)], found)
        if found:
            faults.add(f"campaign_attributes.{name}", None, f"cannot be read as a {kind}", "attribute_type")
    faults.check()


def _kinds(inputs: Sequence[InputColumn], source: str) -> dict[str, str]:
    """The attributes of one source by their kind."""
    return {
        each.field: "category" if each.equals is not None else "set" if each.contains is not None else "number"
        for each in inputs
        if each.source == source
    }


class Faults:
    """What is wrong with the values given, the first MAX_FAULTS of it."""

    def __init__(self) -> None:
        self._errors: list[dict[str, Any]] = []

    def add(self, field: str, row: int | None, message: str, code: str) -> None:
        if len(self._errors) < MAX_FAULTS:
            where = {} if row is None else {"row": row}
            self._errors.append({"field": field[:MAX_NAME]} | where | {"message": message, "code": code})

    def __bool__(self) -> bool:
        return bool(self._errors)

    @property
    def full(self) -> bool:
        """Whether no more will be told: to look for more is in vain."""
        return len(self._errors) == MAX_FAULTS

    def check(self) -> None:
        """Raises: Unprocessable when there is any."""
        if self._errors:
            raise Unprocessable(errors=self._errors)


def columns_of(fields: Fields, rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Raises: Unprocessable naming field and row."""
    faults, names = Faults(), fields.names
    expected = set(names)
    for position, row in enumerate(rows):
        if faults.full:
            break
        if row.keys() != expected:
            names_differ(expected, row.keys(), position, faults)
    faults.check()
    return {name: [row[name] for row in rows] for name in names}


def from_columns(fields: Fields, columns: Mapping[str, Sequence[Any]], timezone: str) -> OnlineFeatures:
    """Raises: Unprocessable naming field and row."""
    faults = Faults()
    expected = set(fields.names)
    if columns.keys() != expected:
        names_differ(expected, columns.keys(), None, faults)
    count = len(next(iter(columns.values()), ()))
    for name, values in columns.items():
        if len(values) != count:
            faults.add(name, None, f"has {len(values)} values where the first column has {count}", "length")
    faults.check()
    matrix = np.empty((count, len(fields.numbers)), np.float32)
    for position, name in enumerate(fields.numbers):
        matrix[:, position] = _numbers(name, columns[name], faults)
    moments = np.empty((count, len(fields.moments)), np.int64)
    for position, name in enumerate(fields.moments):
        moments[:, position] = [_moment(name, row, value, faults) for row, value in enumerate(columns[name])]
    for name, kind in fields.attributes.items():
        check_attribute(CONTACT + name, kind, columns[CONTACT + name], faults)
    faults.check()
    every = np.arange(count)
    attributes = {name: (columns[CONTACT + name], every) for name in fields.attributes}
    return features_of(fields, matrix, moments, AttributeColumns(count, attributes), timezone)


def features_of(
    fields: Fields,
    matrix: NDArray[np.float32],
    moments: NDArray[np.int64],
    attributes: AttributeColumns,
    timezone: str,
) -> OnlineFeatures:
    """Checked values in the form that the store gives."""
    return OnlineFeatures(
        names=fields.numbers,
        matrix=matrix,
        found=np.ones(len(matrix), np.bool_),
        snapshot_id="",
        moment_names=fields.moments,
        moments=moments,
        attributes=attributes,
        timezone=timezone,
        snapshots=np.zeros(len(matrix), np.int64),
    )


def names_differ(expected: set[str], given: Any, row: int | None, faults: Faults) -> None:
    for name in sorted(expected - set(given)):
        faults.add(name, row, "the model needs this field; null says that it is not known", "missing")
    for name in sorted(set(given) - expected):
        faults.add(name, row, "the model knows no such field", "unknown_field")


def _numbers(name: str, values: Sequence[Any], faults: Faults) -> NDArray[np.float64]:
    if set(map(type, values)) <= NUMBER_TYPES:
        try:
            numbers = np.array(values, np.float64)
        except OverflowError:
            numbers = np.array([np.inf if value is not None and abs(value) > MAX_NUMBER else value for value in values],
                               np.float64)  # fmt: skip
        unfit = ~(np.abs(numbers) <= MAX_NUMBER)
        if not unfit.any():
            return numbers
        for row in unfit.nonzero()[0].tolist():
            if values[row] is not None:
                faults.add(name, row, "is not a number between -1e12 and 1e12", "finite_number")
        return numbers
    for row, value in enumerate(values):
        if type(value) not in NUMBER_TYPES:
            faults.add(name, row, "is not a number", "float_type")
    return np.zeros(len(values))


def _moment(name: str, row: int, value: Any, faults: Faults) -> int:
    if value is None:
        return int(MISSING_MOMENT)
    try:
        moment = dt.datetime.fromisoformat(value)
        if moment.tzinfo is None:
            raise ValueError
    except (TypeError, ValueError):
        faults.add(name, row, "is not an ISO 8601 moment with a zone", "datetime_parsing")
        return 0
    return (moment - EPOCH) // MICROSECOND


def check_attribute(name: str, kind: str, values: Sequence[Any], faults: Faults) -> None:
    if kind == "number":
        _numbers(name, values, faults)
        return
    for row, value in enumerate(values):
        members = value if kind == "set" and isinstance(value, list) else (value,)
        for member in members:
            if not isinstance(member, _SCALARS) or (isinstance(member, float) and not np.isfinite(member)):
                faults.add(name, row, "is not a text, a number or a truth value", "attribute_type")
