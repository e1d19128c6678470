"""What an Arrow stream would unpack to, told by its messages' metadata before anything is unpacked.

The limits are a request's, over all of its batches and dictionaries. Flatbuffers are read by hand: pyarrow, which has
checked them by then, shows of a message its bytes only.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from serving.errors import Unprocessable
from serving.prediction.schemas import ARROW_BATCH, MAX_FIELDS

if TYPE_CHECKING:
    import pyarrow as pa

# Batches and dictionaries, and the columns of all batches together: each takes some hundred bytes in memory.
MAX_MESSAGES, MAX_CHUNKS = 1_000, 50_000
MAX_SCHEMA_BYTES = 500_000
# The members of all lists, and the values of all dictionaries: added to, a dictionary is copied, and counts again.
MAX_MEMBERS = 500_000
# Of texts that share what they show: dictionaries, counted likewise, and views.
MAX_TEXT_BYTES = 8_000_000
# A dictionary is checked with each batch that it goes with.
_MAX_CHECKED, _MAX_CHECKED_BYTES = 5_000_000, 200_000_000
# More than any stream holds.
_BEYOND = 2**40
# Kinds of message headers, from Arrow's Message.fbs.
_SCHEMA, _DICTIONARY_BATCH, _RECORD_BATCH = 1, 2, 3


def refused(message: str, code: str, field: str = "body") -> Unprocessable:
    return Unprocessable(errors=[{"field": field, "message": message, "code": code}])


def check_schema(message: pa.Message) -> None:
    """Of a stream's first message: that it describes no more columns than a model may have.
    Raises: Unprocessable, struct.error."""
    if message.metadata.size > MAX_SCHEMA_BYTES:
        raise refused(f"its schema takes more than {MAX_SCHEMA_BYTES} bytes", "too_long")
    metadata = message.metadata.to_pybytes()
    kind, header = _header(metadata)
    if kind == _SCHEMA and _vector(metadata, header, 1)[0] > MAX_FIELDS:
        raise refused(f"at most {MAX_FIELDS} columns", "too_long")


def check_messages(messages: pa.ipc.MessageReader, schema: pa.Schema, lists: list[int], size: int) -> int:
    """Of the other messages of a stream of `size` bytes: `lists` are the positions of its columns of lists, which hold
    plain values. How many values it unpacks to, by rows, members and dictionaries.
    Raises: Unprocessable, pa.ArrowException, struct.error."""
    told, most = _Told(len(schema), lists), min(MAX_MESSAGES, MAX_CHUNKS // max(1, len(schema)))
    for number, message in enumerate(messages):
        if number == most:
            raise refused(f"at most {most} batches and dictionaries of so many columns", "too_long")
        metadata = message.metadata.to_pybytes()
        kind, header = _header(metadata)
        if kind == _RECORD_BATCH:
            told.add_batch(metadata, header)
        elif kind == _DICTIONARY_BATCH:
            told.add_dictionary(metadata, header)
        told.check(schema, size)
    return told.rows + told.members


class _Told:
    """What the messages so far say. `members` are those of lists, and the values of dictionaries."""

    def __init__(self, columns: int, lists: list[int]) -> None:
        self._columns, self._lists = columns, lists
        # A batch has a node for each column, and after a list's one for its members.
        self._is_member = np.zeros(columns + len(lists), np.bool_)
        self._is_member[[position + 1 + before for before, position in enumerate(lists)]] = True
        self._of_lists = np.zeros(len(lists), np.int64)
        # By the number of the dictionary: its values and its bytes.
        self._dictionaries: dict[int, tuple[int, int]] = {}
        self.rows = self.members = self._bytes = self._text = self._checked = self._checked_bytes = 0

    def add_batch(self, metadata: bytes, batch: int) -> None:
        lengths = self._lengths(metadata, batch)
        if len(lengths) != len(self._is_member):
            raise struct.error("not the columns of the schema")
        self.rows += max(_number(metadata, batch, 0), *lengths[~self._is_member].tolist(), 0)
        self._of_lists += lengths[self._is_member]
        self.members += int(lengths[self._is_member].sum())
        for values, held in self._dictionaries.values():
            self._checked += values
            self._checked_bytes += held

    def add_dictionary(self, metadata: bytes, header: int) -> None:
        batch, before = _child(metadata, header, 1), self._bytes
        values = int(self._lengths(metadata, batch).sum())
        held = self._bytes - before
        name, added_to = _number(metadata, header, 0), _slot(metadata, header, 2)
        if added_to and metadata[added_to]:
            known = self._dictionaries.get(name, (0, 0))
            values, held = known[0] + values, known[1] + held
        self._dictionaries[name] = values, held
        self.members += values
        self._text += held
        if values > ARROW_BATCH:
            raise refused(f"at most {ARROW_BATCH} values in a dictionary", "too_long")
        if len(self._dictionaries) > self._columns:
            raise struct.error("dictionaries of no column")

    def _lengths(self, metadata: bytes, batch: int) -> NDArray[np.int64]:
        """Of each node of a batch, whose bytes are counted."""
        if _slot(metadata, batch, 3):
            raise refused("its buffers are compressed; send them plain", "compressed")
        lengths, held = _pairs(metadata, batch, 1)[:, 0], _pairs(metadata, batch, 2)[:, 1]
        if (lengths < 0).any() or (held < 0).any():
            raise struct.error("a negative length")
        self._bytes += int(held.clip(max=_BEYOND).sum())
        return lengths.clip(max=_BEYOND)

    def _largest(self, schema: pa.Schema) -> str:
        """The name of the column with the most members, if they are what is too much."""
        if self._of_lists.sum() * 2 <= self.members:
            return "body"
        return str(schema.names[self._lists[int(self._of_lists.argmax())]])

    def check(self, schema: pa.Schema, size: int) -> None:
        """Raises: Unprocessable."""
        if self.rows > ARROW_BATCH:
            raise refused(f"at most {ARROW_BATCH} rows a request", "too_long")
        # Nulls take no bytes; of anything else no more than one fits in each.
        if self.members > (most := min(MAX_MEMBERS, size)) or self._checked > _MAX_CHECKED:
            raise refused(
                f"at most {most} members of lists and values of dictionaries", "too_long", self._largest(schema)
            )
        if self._text > MAX_TEXT_BYTES or self._checked_bytes > _MAX_CHECKED_BYTES:
            raise refused(f"at most {MAX_TEXT_BYTES} bytes of dictionaries", "too_long")
        if self._bytes > size:
            raise refused("its buffers lie over one another", "overlapping")


def _header(metadata: bytes) -> tuple[int, int]:
    """Of a message: the kind of its header, and where that is."""
    (start,) = struct.unpack_from("<I", metadata, 0)
    kind_at = _slot(metadata, start, 1)
    return (metadata[kind_at], _child(metadata, start, 2)) if kind_at else (0, 0)


def _number(buffer: bytes, table: int, number: int) -> int:
    at = _slot(buffer, table, number)
    return int(struct.unpack_from("<q", buffer, at)[0]) if at else 0


def _vector(buffer: bytes, table: int, number: int) -> tuple[int, int]:
    """The length of a table's vector, and where it begins."""
    if not _slot(buffer, table, number):
        return 0, 0
    at = _child(buffer, table, number)
    return int(struct.unpack_from("<I", buffer, at)[0]), at + 4


def _pairs(buffer: bytes, table: int, number: int) -> NDArray[np.int64]:
    """A vector of structs of two 64-bit numbers, (length, 2). Raises: struct.error."""
    length, at = _vector(buffer, table, number)
    if at + 16 * length > len(buffer):
        raise struct.error("a vector beyond its buffer")
    return np.frombuffer(buffer, "<i8", 2 * length, at).reshape(length, 2)


def _slot(buffer: bytes, table: int, number: int) -> int:
    """Where a flatbuffers table holds its field `number`; 0 when it leaves it out."""
    vtable = table - struct.unpack_from("<i", buffer, table)[0]
    if 4 + 2 * number >= struct.unpack_from("<H", buffer, vtable)[0]:
        return 0
    (offset,) = struct.unpack_from("<H", buffer, vtable + 4 + 2 * number)
    return table + offset if offset else 0


def _child(buffer: bytes, table: int, number: int) -> int:
    at = _slot(buffer, table, number)
    return at + int(struct.unpack_from("<I", buffer, at)[0])
