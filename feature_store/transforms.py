"""From features as known to the float32 matrix of a model, by the same code at fit and at predict."""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from feature_store.attribute_columns import AttributeColumns, attributes_of
from feature_store.feature_services import FeatureService
from feature_store.model_inputs import AttributeType as AttributeType
from feature_store.model_inputs import ModelInputs as ModelInputs
from feature_store.model_inputs import check_model_inputs
from feature_store.on_demand import MISSING_MOMENT, ON_DEMAND, Use, on_demand
from feature_store.online import OnlineFeatures

if TYPE_CHECKING:
    import polars as pl

# Rare categories beyond the most frequent ones share the all-zero code with the unseen.
MAX_CATEGORIES = 30
# A word that fewer people have is no category of theirs: it would name them in models, which outlive them.
MIN_PEOPLE = 5
LARGEST = float(np.finfo(np.float32).max)

Origin = Literal["feature", "contact_attribute", "campaign_attribute", "on_demand"]
Attributes = Mapping[str, Any]


class MissingColumn(Exception):
    """The frame lacks a column that an input is made of."""

    def __init__(self, column: str) -> None:
        super().__init__(f"the frame has no column {column}, which the model's inputs need")
        self.column = column


@dataclass(frozen=True)
class InputColumn:
    """One column of the model's matrix. Numeric (value, or NaN when missing) unless `equals` (1 where the attribute is
    this category) or `contains` (1 where the set holds this member) is given."""

    name: str
    source: Origin
    field: str
    equals: str | None = None
    contains: str | None = None

    def to_json(self) -> dict[str, str | None]:
        return {
            "name": self.name,
            "source": self.source,
            "field": self.field,
            "equals": self.equals,
            "contains": self.contains,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> InputColumn:
        """Raises KeyError or ValueError for what `to_json` did not write."""
        if value["source"] not in ("feature", "contact_attribute", "campaign_attribute", "on_demand"):
            raise ValueError(f"unknown input source {value['source']!r}")
        return cls(value["name"], value["source"], value["field"], value.get("equals"), value.get("contains"))


def fit_inputs(frame: pl.DataFrame, service: FeatureService, model_inputs: ModelInputs) -> list[InputColumn]:
    """The model's columns: the service's features, then one or several for each typed attribute. Categories and members
    are the 30 most frequent ones of `frame`, which must hold training rows only. Raises InvalidModelInputs."""
    model_inputs = check_model_inputs(model_inputs)
    inputs = [InputColumn(name, "feature", name) for name in service.features]
    inputs += [InputColumn(name, "on_demand", name) for name in service.on_demand]
    for owner in ("contact", "campaign") if service.campaign_attributes else ("contact",):
        fields = model_inputs.get(owner, {})
        if fields:
            different, which = _attributes(frame, f"{owner}_attributes")
            people = frame["contact_id"].to_list() if owner == "contact" and "contact_id" in frame.columns else None
            inputs += _fit_attributes(owner, fields, different, which, people)
    return inputs


def encode(frame: pl.DataFrame, inputs: Sequence[InputColumn]) -> NDArray[np.float32]:
    """(n, k) float32, one row for each of the frame's, in `inputs` order; NaN where a number is missing.

    Reads the columns of `get_historical_features`: features, `event_timestamp` (the moment of use), `tenant_timezone`,
    and attributes as JSON text in `contact_attributes` and `campaign_attributes`. Raises MissingColumn.
    """
    plan = _plan(tuple(inputs))
    names = tuple(sorted(plan.numbers))
    for column in (*names, *plan.moments, *plan.columns):
        if column not in frame.columns:
            raise MissingColumn(column)
    matrix = np.empty((frame.height, len(names)), np.float32)
    for position, name in enumerate(names):
        matrix[:, position] = frame[name].cast(float).fill_null(float("nan")).to_numpy()
    moments = {name: _microseconds(frame[name]) for name in plan.moments}
    contact, campaign = (_attribute_columns(frame, owner, plan) for owner in ("contact", "campaign"))
    use = _use_of_frame(frame) if plan.uses_clock else None
    return _fill(plan, frame.height, names, matrix, moments, contact, campaign, use)


def encode_online(
    features: OnlineFeatures, inputs: Sequence[InputColumn], campaign_attributes: Attributes, at: dt.datetime
) -> NDArray[np.float32]:
    """`encode` for contacts of the online store, all asked about one campaign at one moment (UTC); needs no polars."""
    return _encoded_online(features, inputs, campaign_attributes, [at])


def encode_moments(
    features: OnlineFeatures,
    inputs: Sequence[InputColumn],
    campaign_attributes: Attributes,
    moments: Sequence[dt.datetime],
) -> NDArray[np.float32]:
    """`encode_online` for one contact at several moments (UTC), one row each."""
    count = len(moments)
    repeated = replace(
        features, matrix=features.matrix.repeat(count, axis=0), moments=features.moments.repeat(count, axis=0)
    )
    return _encoded_online(repeated, inputs, campaign_attributes, moments)


def _encoded_online(
    features: OnlineFeatures, inputs: Sequence[InputColumn], campaign: Attributes, at: Sequence[dt.datetime]
) -> NDArray[np.float32]:
    """At one moment for all rows, or one for each."""
    plan = _plan(tuple(inputs))
    moments = {name: features.moments[:, index] for index, name in enumerate(features.moment_names)}
    zone = _zone(features.timezone)
    local = [each.astimezone(zone) for each in at]
    use = Use(
        at=np.array([_epoch_microseconds(each) for each in at], np.int64),
        hour=np.array([each.hour + each.minute / 60 + each.second / 3600 for each in local]),
        weekday=np.array([float(each.weekday()) for each in local]),
    )
    count = features.matrix.shape[0]
    return _fill(plan, count, features.names, features.matrix, moments, features.attributes, [campaign], use)


@dataclass(frozen=True)
class _Plan:
    inputs: tuple[InputColumn, ...]
    numbers: frozenset[str]  # every stored number the inputs or their on-demand features need
    moments: tuple[str, ...]
    columns: tuple[str, ...]  # what else the frame must hold
    uses_clock: bool
    attributes: tuple[tuple[Origin, str, tuple[tuple[int, InputColumn], ...]], ...]  # inputs by attribute


@lru_cache(maxsize=256)
def _plan(inputs: tuple[InputColumn, ...]) -> _Plan:
    made = [ON_DEMAND[each.field] for each in inputs if each.source == "on_demand"]
    needs = {need for feature in made for need in feature.needs}
    moments = tuple(sorted(need for need in needs if need.endswith("_at")))
    numbers = frozenset({each.field for each in inputs if each.source == "feature"} | (needs - set(moments)))
    grouped: dict[tuple[Origin, str], list[tuple[int, InputColumn]]] = {}
    for position, each in enumerate(inputs):
        if each.source.endswith("_attribute"):
            grouped.setdefault((each.source, each.field), []).append((position, each))
    columns = tuple(sorted({f"{source}s" for source, _ in grouped}))
    if made:
        columns += ("event_timestamp", "tenant_timezone")
    attributes = tuple((source, field, tuple(members)) for (source, field), members in grouped.items())
    return _Plan(inputs, numbers, moments, columns, bool(made), attributes)


@lru_cache(maxsize=256)
def _positions(plan: _Plan, names: tuple[str, ...]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Where each stored number goes in the model's matrix, and where it is in the matrix of `names`."""
    index = {name: position for position, name in enumerate(names)}
    pairs = [(to, index[each.field]) for to, each in enumerate(plan.inputs) if each.source == "feature"]
    into, out_of = zip(*pairs, strict=True) if pairs else ((), ())
    return np.array(into, np.intp), np.array(out_of, np.intp)


def _fill(
    plan: _Plan,
    count: int,
    names: tuple[str, ...],
    matrix: NDArray[np.float32],
    moments: Mapping[str, NDArray[np.int64]],
    contact: Sequence[Attributes],
    campaign: Sequence[Attributes],
    use: Use | None,
) -> NDArray[np.float32]:
    """`campaign` holds one row for each, or one for all."""
    # By column, as it is filled and as trees read it.
    columns = np.zeros((len(plan.inputs), count), np.float32)
    into, out_of = _positions(plan, names)
    columns[into] = matrix.T[out_of]
    out = columns.T
    if use is not None:
        needed = {name: matrix[:, position] for position, name in enumerate(names) if name in plan.numbers}
        for position, each in enumerate(plan.inputs):
            if each.source == "on_demand":
                out[:, position] = on_demand(each.field, needed, moments, use)
    for source, field, members in plan.attributes:
        owners = contact if source == "contact_attribute" else campaign
        if isinstance(owners, AttributeColumns):
            values, which = owners.columns[field]
            codes = _codes(members, values)[which]
        else:
            codes = _codes(members, [each.get(field) for each in owners])
        out[:, [position for position, _ in members]] = codes
    return out


def _codes(members: Sequence[tuple[int, InputColumn]], values: Sequence[Any]) -> NDArray[np.float32]:
    """One row a value, one column a member: of one value for all rows, one row."""
    codes = np.zeros((len(values), len(members)), np.float32)
    coded: dict[str, int] = {}
    for column, (_, each) in enumerate(members):
        name = each.equals if each.equals is not None else each.contains
        if name is None:
            codes[:, column] = [_number(value) for value in values]
        else:
            coded[name] = column
    if not coded:
        return codes
    rows: list[int] = []
    columns: list[int] = []
    for row, value in enumerate(values):
        for member in value if isinstance(value, list) else (value,):
            found = coded.get(_text(member)) if member is not None else None
            if found is not None:
                rows.append(row)
                columns.append(found)
    codes[rows, columns] = 1.0
    return codes


def _fit_attributes(
    owner: str,
    fields: Mapping[str, AttributeType],
    different: Sequence[Attributes],
    which: NDArray[np.intp],
    people: Sequence[Any] | None,
) -> list[InputColumn]:
    """`different` are the attributes there are, `which` says which of them each row has; `people` whose the row is,
    None where the attributes are nobody's."""
    source: Origin = "contact_attribute" if owner == "contact" else "campaign_attribute"
    inputs: list[InputColumn] = []
    rows = np.bincount(which, minlength=len(different)).tolist()
    who: list[set[Any]] = [set() for _ in different]
    for position, person in zip(which.tolist(), people or (), strict=False):
        who[position].add(person)
    for field, kind in sorted(fields.items()):
        if kind == "number":
            inputs.append(InputColumn(f"{owner}.{field}", source, field))
            continue
        seen: Counter[str] = Counter()
        theirs: defaultdict[str, set[Any]] = defaultdict(set)
        for each, count, those in zip(different, rows, who, strict=True):
            value = each.get(field)
            if value is not None:
                members = {_text(member) for member in (value if isinstance(value, list) else (value,))}
                seen.update(dict.fromkeys(members, count))
                for member in members if people is not None else ():
                    theirs[member] |= those
        if people is not None:
            seen = Counter({name: count for name, count in seen.items() if len(theirs[name]) >= MIN_PEOPLE})
        # Sorted by name among equals, so that the same rows give the same columns.
        kept = sorted(name for name, _ in sorted(seen.items(), key=lambda item: (-item[1], item[0]))[:MAX_CATEGORIES])
        if kind == "category":
            inputs += [InputColumn(f"{owner}.{field}={name}", source, field, equals=name) for name in kept]
        else:
            inputs += [InputColumn(f"{owner}.{field}:{name}", source, field, contains=name) for name in kept]
    return inputs


def _number(value: Any) -> float:
    """NaN for what is no number, or none of the matrix: an infinity, which no model can be fitted on."""
    number = float(value) if isinstance(value, int | float) else float("nan")
    return number if abs(number) <= LARGEST else float("nan")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _attribute_columns(frame: pl.DataFrame, owner: str, plan: _Plan) -> AttributeColumns:
    """The attributes of this owner that the plan's inputs are made of."""
    source = f"{owner}_attribute"
    fields = [field for given, field, _ in plan.attributes if given == source]
    if not fields:
        return AttributeColumns(frame.height, {})
    different, which = _attributes(frame, f"{source}s")
    return AttributeColumns(frame.height, {field: ([each.get(field) for each in different], which) for field in fields})


def _attributes(frame: pl.DataFrame, column: str) -> tuple[list[Attributes], NDArray[np.intp]]:
    """The different JSON objects of a text column, null being the empty one, and which of them each row has."""
    import polars as pl

    if column not in frame.columns:
        raise MissingColumn(column)
    texts = frame.select(pl.col(column).cast(pl.String))
    different = texts.unique(maintain_order=True).with_row_index("which")
    which = texts.join(different, on=column, how="left", nulls_equal=True, maintain_order="left")["which"]
    parsed = [{} if text is None else attributes_of(text) for text in different[column].to_list()]
    return parsed, which.to_numpy().astype(np.intp)


def _microseconds(moments: pl.Series) -> NDArray[np.int64]:
    return moments.dt.epoch("us").fill_null(int(MISSING_MOMENT)).to_numpy()


def _use_of_frame(frame: pl.DataFrame) -> Use:
    import polars as pl

    hour = np.full(frame.height, np.nan)
    weekday = np.full(frame.height, np.nan)
    indexed = frame.select("event_timestamp", "tenant_timezone").with_row_index("row")
    for (zone,), part in indexed.group_by("tenant_timezone"):
        at = part["event_timestamp"]
        at = at if getattr(at.dtype, "time_zone", None) else at.dt.replace_time_zone("UTC")
        local = at.dt.convert_time_zone(str(zone) if zone is not None else "UTC")
        rows = part["row"].to_numpy()
        parts = pl.DataFrame({"h": local.dt.hour(), "m": local.dt.minute(), "s": local.dt.second()}).cast(pl.Float64)
        hour[rows] = (parts["h"] + parts["m"] / 60 + parts["s"] / 3600).to_numpy()
        weekday[rows] = (local.dt.weekday() - 1).cast(pl.Float64).to_numpy()
    return Use(at=_microseconds(frame["event_timestamp"]), hour=hour, weekday=weekday)


@lru_cache(maxsize=1024)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def _epoch_microseconds(at: dt.datetime) -> int:
    return (at - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1)
