"""Arrow's columns as PostgreSQL's, and their rows as the CSV that COPY reads."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.csv as pacsv

# The warehouse keeps ids as text; these are joined with, or compared to, the operational database's own.
UUIDS = frozenset({"tenant_id", "contact_id", "campaign_id", "conversation_id", "message_id", "order_id"})
# What readers look rows up by, in the order of an index.
KEY_COLUMNS = (
    "tenant_id", "date", "local_date", "usage_date", "hour", "local_hour", "campaign_id", "contact_id", "currency",
)  # fmt: skip
# A slice of the CSV's rows is all that is held at a time, whatever the batch's size.
SLICE_ROWS = 20_000


class InvalidMart(Exception):
    """A table that cannot be published; the text names it and says why."""


def column_types(name: str, schema: pa.Schema) -> dict[str, str]:
    """PostgreSQL type by column, in the table's order. Raises: InvalidMart without a tenant, or for a type that has no
    counterpart."""
    if "tenant_id" not in schema.names:
        raise InvalidMart(f"{name} has no column tenant_id: nobody could be shown its rows")
    if len(set(schema.names)) < len(schema.names):
        raise InvalidMart(f"{name} has two columns of one name")
    return {field.name: _column_type(name, field) for field in schema}


def key_columns(schema: pa.Schema) -> list[str]:
    """The columns of the table's index, the tenant first."""
    return [column for column in KEY_COLUMNS if column in schema.names]


def as_csv(batch: pa.RecordBatch) -> Iterator[bytes]:
    """The rows without a header; null is an empty cell without quotes, so that an empty text stays one."""
    options = pacsv.WriteOptions(include_header=False)
    table = pa.table({field.name: _plain(batch.column(field.name)) for field in batch.schema})
    for start in range(0, table.num_rows, SLICE_ROWS):
        buffer = io.BytesIO()
        pacsv.write_csv(table.slice(start, SLICE_ROWS), buffer, options)
        yield buffer.getvalue()


def _plain(column: pa.Array) -> pa.Array:
    kind = column.type
    if pa.types.is_dictionary(kind) or pa.types.is_string_view(kind) or pa.types.is_large_string(kind):
        return column.cast(pa.string())
    return column


def _column_type(table: str, field: pa.Field) -> str:
    kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    if _is_text(kind) or pa.types.is_null(kind):
        return "uuid" if field.name in UUIDS else "text"
    if pa.types.is_int64(kind) or pa.types.is_uint32(kind):
        return "bigint"
    if pa.types.is_integer(kind):
        return "numeric(20)" if pa.types.is_uint64(kind) else "integer"
    if pa.types.is_floating(kind):
        return "double precision"
    if pa.types.is_decimal(kind):
        return f"numeric({kind.precision}, {kind.scale})"
    if pa.types.is_boolean(kind):
        return "boolean"
    if pa.types.is_date(kind):
        return "date"
    if pa.types.is_timestamp(kind):
        return "timestamptz" if kind.tz else "timestamp"
    raise InvalidMart(f"{table}.{field.name} is of type {field.type}, which has no counterpart in PostgreSQL")


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))
