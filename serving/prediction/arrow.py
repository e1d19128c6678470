"""Batches as Arrow IPC streams: the same fields as in JSON, one column each, checked whole columns at a time."""

from __future__ import annotations

import json
import struct
import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from feature_store.attribute_columns import AttributeColumns
from feature_store.on_demand import MISSING_MOMENT
from feature_store.online import OnlineFeatures
from serving.errors import Unprocessable
from serving.prediction.arrow_limits import MAX_TEXT_BYTES, check_messages, check_schema, refused
from serving.prediction.bundles import Bundle, Coded, Predictions
from serving.prediction.given import CONTACT, Faults, Fields, check_attribute, features_of, names_differ
from serving.prediction.schemas import MAX_NUMBER, MAX_ONE_BYTES, Asked

if TYPE_CHECKING:
    import pyarrow as pa

    from serving.prediction.predictor import Batch

MEDIA_TYPE = "application/vnd.apache.arrow.stream"
CONTACT_ID = "contact_id"
# The first and the last second that a moment in JSON can name: those of the years 1 and 9999.
_FIRST, _LAST = -62_135_596_800, 253_402_300_799
_NO_MOMENT = "is not a moment of the years 1 to 9999"
_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}


def read_batch(body: bytes) -> tuple[pa.RecordBatch, int]:
    """The whole stream, valid in every buffer, and how many values it unpacks to.
    Raises: Unprocessable when it is no stream, or one that says too much."""
    import pyarrow as pa

    try:
        messages = pa.ipc.MessageReader.open_stream(body)
        check_schema(messages.read_next_message())
        with pa.ipc.open_stream(body) as reader:
            odd, lists = _odd_columns(reader.schema)
            unpacked = check_messages(messages, reader.schema, lists, len(body))
            table = reader.read_all()
        if odd:
            table.validate()
            _check_views(table, odd)
        table.validate(full=True)
        names = table.column_names
    # Names that are no UTF-8 are a UnicodeDecodeError.
    except (pa.ArrowException, OSError, StopIteration, struct.error, UnicodeDecodeError) as error:
        raise refused("it is not an Arrow IPC stream", "arrow_invalid") from error
    if table.num_rows == 0:
        raise refused("it has no rows", "too_short")
    if len(set(names)) != table.num_columns:
        raise refused("two columns have the same name", "duplicate")
    try:
        return table.combine_chunks().to_batches()[0], unpacked
    except pa.ArrowException as error:
        raise refused("dictionaries that change between batches must hold no nulls", "arrow_invalid") from error


def asked_in(rows: pa.RecordBatch) -> Asked:
    """What the schema's metadata say of the campaign: `campaign_id`, and `campaign_attributes` as JSON.
    Raises: Unprocessable."""
    metadata = rows.schema.metadata or {}
    given: dict[str, Any] = {}
    try:
        if (campaign_id := metadata.get(b"campaign_id")) is not None:
            given["campaign_id"] = campaign_id.decode(errors="replace")
        if (attributes := metadata.get(b"campaign_attributes")) is not None:
            if len(attributes) > MAX_ONE_BYTES:
                raise refused(f"campaign_attributes take more than {MAX_ONE_BYTES} bytes", "too_long", "metadata")
            given["campaign_attributes"] = json.loads(attributes)
        return Asked.model_validate(given)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        raise Unprocessable(
            errors=[
                {"field": ".".join(map(str, item["loc"])), "message": item["msg"], "code": item["type"]}
                for item in faults
            ]
        ) from error
    # Brackets nested too deep are a RecursionError.
    except (ValueError, RecursionError) as error:
        raise refused("campaign_attributes in the metadata is not JSON", "json_invalid", "metadata") from error


def contact_ids_in(rows: pa.RecordBatch) -> list[uuid.UUID] | None:
    """The contacts asked about; None when features are given instead. Raises: Unprocessable naming the row."""
    if rows.schema.names != [CONTACT_ID]:
        return None
    faults, found = Faults(), []
    values, which = _values_of(CONTACT_ID, rows.column(0), "uuid_type", faults)
    faults.check()
    for row, each in enumerate(which.tolist()):
        value = values[each]
        try:
            found.append(uuid.UUID(bytes=value) if isinstance(value, bytes) else uuid.UUID(str(value)))
        except (ValueError, TypeError, AttributeError):
            faults.add(CONTACT_ID, row, "is not a UUID", "uuid_parsing")
    faults.check()
    return found


def features_in(fields: Fields, rows: pa.RecordBatch, timezone: str) -> OnlineFeatures:
    """Raises: Unprocessable naming field and row."""
    faults = Faults()
    columns = dict(zip(rows.schema.names, rows.columns, strict=True))
    if columns.keys() != set(fields.names):
        names_differ(set(fields.names), columns, None, faults)
    faults.check()
    numbers = _matrix(fields.numbers, rows, columns, faults)
    fit = np.abs(numbers) <= MAX_NUMBER
    for row, position in [] if fit.all() else np.argwhere(~fit).tolist():
        if columns[fields.numbers[position]][row].is_valid:
            faults.add(fields.numbers[position], row, "is not a number between -1e12 and 1e12", "finite_number")
    moments = np.empty((len(fields.moments), rows.num_rows), np.int64)
    for position, name in enumerate(fields.moments):
        moments[position] = _moments(name, columns[name], faults)
    beyond = ((moments < _FIRST * 1_000_000) | (moments > _LAST * 1_000_000)) & (moments != MISSING_MOMENT)
    for position, row in np.argwhere(beyond).tolist() if beyond.any() else []:
        faults.add(fields.moments[position], row, _NO_MOMENT, "datetime_parsing")
    attributes = {
        name: attribute_of(CONTACT + name, kind, columns[CONTACT + name], faults)
        for name, kind in fields.attributes.items()
    }
    faults.check()
    people = AttributeColumns(rows.num_rows, attributes)
    return features_of(fields, numbers.astype(np.float32, copy=False), moments.T, people, timezone)


def answer_given(bundle: Bundle, made: Predictions, outside: Coded[Sequence[str]]) -> bytes:
    """One row for each given, in their order."""
    import pyarrow as pa

    nobodys = pa.nulls(len(made.score), pa.float64())
    columns = {
        "score": pa.array(made.score),
        "probability": pa.array(made.probability),
        "interval_low": nobodys if made.interval is None else pa.array(made.interval.low),
        "interval_high": nobodys if made.interval is None else pa.array(made.interval.high),
        "tier": _decoded(made.tier, pa.string()),
        "out_of_range": _decoded(outside, pa.list_(pa.string())),
    }
    return _stream(pa.table(columns), bundle)


def _decoded(coded: Coded[Any], kind: pa.DataType) -> pa.Array:
    import pyarrow as pa

    return pa.array(coded.values, kind).take(pa.array(coded.which))


def answer_contacts(batch: Batch, contact_ids: list[uuid.UUID]) -> bytes:
    """One row for each contact asked about, in their order; `not_predicted` says why a score is null."""
    import pyarrow as pa

    predicted = {one["contact_id"]: one for one in batch.predictions}
    refused = {one["contact_id"]: one["reason"] for one in batch.not_predicted}
    nothing: dict[str, Any] = {}
    found = [predicted.get(each, nothing) for each in contact_ids]
    bounds = [one.get("interval") or nothing for one in found]
    names = {
        "score": pa.float64(), "probability": pa.float64(), "tier": pa.string(), "feature_snapshot_id": pa.string(),
        "features_age_seconds": pa.int64(), "features_stale": pa.bool_(), "out_of_range": pa.list_(pa.string()),
    }  # fmt: skip
    columns = {CONTACT_ID: pa.array([str(each) for each in contact_ids])}
    columns |= {f"interval_{end}": pa.array([one.get(end) for one in bounds], pa.float64()) for end in ("low", "high")}
    columns |= {name: pa.array([one.get(name) for one in found], kind) for name, kind in names.items()}
    columns["not_predicted"] = pa.array([refused.get(each) for each in contact_ids], pa.string())
    return _stream(pa.table(columns), batch.bundle)


def _stream(table: pa.Table, bundle: Bundle) -> bytes:
    import pyarrow as pa

    told = {"model": bundle.model, "model_version": bundle.version}
    if bundle.interval_level is not None:
        told["interval_level"] = str(bundle.interval_level)
    described = table.replace_schema_metadata(told)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, described.schema) as writer:
        writer.write_table(described)
    return bytes(sink.getvalue())


def _matrix(
    names: Sequence[str], rows: pa.RecordBatch, columns: Mapping[str, pa.Array], faults: Faults
) -> NDArray[np.floating[Any]]:
    """(rows, names), by column; NaN where nothing is known."""
    import pyarrow as pa

    try:
        together: NDArray[np.floating[Any]] = (
            rows.select(list(names)).to_tensor(null_to_nan=True, row_major=False).to_numpy()
        )
        if together.dtype in (np.float32, np.float64):
            return together
    # Not all of them are numbers.
    except (TypeError, pa.ArrowException):
        pass
    numbers = np.empty((len(names), rows.num_rows))
    for position, name in enumerate(names):
        numbers[position] = _numbers(name, columns[name], faults)
    return numbers.T


def _numbers(name: str, column: pa.Array, faults: Faults) -> NDArray[Any] | float:
    """NaN where nothing is known; for a column that holds no numbers any number."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_null(kind):
        return float("nan")
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        faults.add(name, None, f"is {kind}, not a number", "float_type")
        return 0.0
    numbers: NDArray[Any] = column.to_numpy(zero_copy_only=False)
    return numbers


def _moments(name: str, column: pa.Array, faults: Faults) -> NDArray[np.int64] | int:
    import pyarrow as pa

    if pa.types.is_null(column.type):
        return int(MISSING_MOMENT)
    if not pa.types.is_timestamp(column.type) or not _has_zone(column.type):
        faults.add(name, None, f"is {column.type}, not a timestamp with a zone", "datetime_type")
        return 0
    told, per_second = _filled(column.view(pa.int64()), int(MISSING_MOMENT)), _PER_SECOND[column.type.unit]
    unknown = told == MISSING_MOMENT
    for row in unknown.nonzero()[0].tolist() if np.count_nonzero(unknown) > column.null_count else ():
        if column[row].is_valid:
            faults.add(name, row, _NO_MOMENT, "datetime_parsing")
    if per_second == 1_000_000:
        return told
    if per_second > 1_000_000:
        micros = told // (per_second // 1_000_000)
    else:
        # Far beyond the moments there are, microseconds would wrap round.
        micros = told.clip(_FIRST * per_second - 1, _LAST * per_second + 1) * (1_000_000 // per_second)
    return np.where(unknown, MISSING_MOMENT, micros)


def _has_zone(kind: pa.TimestampType) -> bool:
    try:
        return kind.tz is not None
    except UnicodeDecodeError:
        return True


def _filled(numbers: pa.Array, missing: int) -> NDArray[np.int64]:
    found: NDArray[np.int64] = (numbers.fill_null(missing) if numbers.null_count else numbers).to_numpy()
    return found


def attribute_of(name: str, kind: str, column: pa.Array, faults: Faults) -> tuple[Sequence[Any], NDArray[np.intp]]:
    """Its values, checked, and which of them each row has."""
    values, which = _values_of(name, column, "attribute_type", faults)
    found = Faults()
    check_attribute(name, kind, values, found)
    if found:
        check_attribute(name, kind, [values[each] for each in which.tolist()], faults)
    return values, which


def _values_of(name: str, column: pa.Array, code: str, faults: Faults) -> tuple[list[Any], NDArray[np.intp]]:
    """As Python's: values, and which of them each row has, (rows,). Dates and the like are a fault, which `code` names,
    and read as nothing."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_temporal(kind) or pa.types.is_decimal(kind):
        faults.add(name, None, f"is {kind}, not texts, numbers or truth values", code)
        return [None], np.zeros(len(column), np.intp)
    # Neither lists nor half floats are what Arrow makes a dictionary of.
    if kind.num_fields or pa.types.is_float16(kind) or isinstance(kind, pa.BaseExtensionType):
        return column.to_pylist(), np.arange(len(column))
    if not pa.types.is_dictionary(kind):
        coded = column.dictionary_encode(null_encoding="encode")
        return coded.dictionary.to_pylist(), coded.indices.to_numpy().astype(np.intp)
    # Null may be an index, a value of the dictionary, or both.
    values = [*column.dictionary.to_pylist(), None]
    return values, _filled(column.indices.cast(pa.int64()), len(values) - 1).astype(np.intp)


def _odd_columns(schema: pa.Schema) -> tuple[list[int], list[int]]:
    """Those whose values take other bytes than they came in, and which of them are lists. Raises: Unprocessable naming
    one that is not read."""
    kinds = schema.types
    # The same for all types of one id.
    plain = {kind.id for kind in {kind.id: kind for kind in kinds}.values() if _is_plain(kind)}
    odd = [position for position, kind in enumerate(kinds) if kind.id not in plain]
    for position in odd:
        if not _is_read(kinds[position]):
            raise refused(f"{kinds[position]} is not read here", "unsupported_type", schema.names[position])
    return odd, [position for position in odd if kinds[position].num_fields]


def _check_views(table: pa.Table, odd: list[int]) -> None:
    """How much text all views of these columns show, which may share it. Raises: Unprocessable."""
    from pyarrow import types

    shown = 0
    for position, part in ((each, chunk) for each in odd for chunk in table.column(each).chunks):
        values = _plain_values(part)
        if types.is_string_view(values.type):
            # Each view is 16 bytes and begins with the length of its text.
            views = np.frombuffer(values.buffers()[1], np.int32, 4 * (values.offset + len(values)))
            shown += int(views[4 * values.offset :: 4].sum(dtype=np.int64))
            if shown > MAX_TEXT_BYTES:
                raise refused(f"at most {MAX_TEXT_BYTES} bytes of text", "too_long", table.column_names[position])


def _plain_values(values: pa.Array) -> pa.Array:
    """A dictionary's, or the members of its lists."""
    from pyarrow import types

    if types.is_dictionary(values.type):
        return values.dictionary
    return values.values if values.type.num_fields else values


def _is_plain(kind: pa.DataType) -> bool:
    """Whether its values take the bytes they came in, as nearly all columns' do."""
    from pyarrow import types

    return bool(types.is_primitive(kind) or types.is_string(kind) or types.is_null(kind))


def _is_read(kind: pa.DataType) -> bool:
    from pyarrow import types

    if types.is_dictionary(kind):
        return _is_scalar(kind.value_type)
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return _is_scalar(kind.value_type)
    return bool(_is_plain(kind) or _is_scalar(kind) or types.is_decimal(kind))


def _is_scalar(kind: pa.DataType) -> bool:
    """Whether a dictionary or a list of them is read."""
    import pyarrow as pa
    from pyarrow import types

    number = types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind) or types.is_null(kind)
    text = types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)
    return bool(number or text or types.is_binary(kind) or types.is_fixed_size_binary(kind) or kind == pa.uuid())
