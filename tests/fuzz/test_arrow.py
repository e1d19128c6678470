"""Any Arrow stream is answered or refused, for little: what is sent is not what it says it unpacks to."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from serving.errors import Unprocessable
from serving.prediction import arrow
from tests.fuzz.limits import within_limits
from tests.fuzz.mutation import mutated
from tests.fuzz.predictions import ANYBODY, FIELDS, GOOD

MAX_BODY_BYTES = 8_000_000
SCALARS: tuple[pa.DataType, ...] = (
    pa.null(), pa.bool_(), pa.int8(), pa.uint64(), pa.float16(), pa.float32(), pa.float64(), pa.string(),
    pa.large_string(), pa.string_view(), pa.binary(), pa.binary(16), pa.timestamp("us", "UTC"), pa.timestamp("s"),
    pa.date32(), pa.duration("ns"), pa.decimal128(9, 2),
)  # fmt: skip


def stream(batches: list[pa.RecordBatch], **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batches[0].schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return bytes(sink.getvalue())


def read(body: bytes) -> Unprocessable | None:
    """As the route does, to where the model is asked; its refusal."""
    with within_limits(body):
        try:
            rows, _ = arrow.read_batch(body)
            arrow.asked_in(rows)
            if arrow.contact_ids_in(rows) is None:
                arrow.features_in(FIELDS, rows, "Europe/Berlin")
        except Unprocessable as refusal:
            return refusal
    return None


def usual(count: int = 2) -> pa.RecordBatch:
    columns = {name: (values * count)[:count] for name, values in GOOD.items()}
    moments = pa.array(columns["last_order_at"], pa.string()).cast(pa.timestamp("us", "UTC"))
    return pa.record_batch(columns | {"last_order_at": moments})


def values(chance: random.Random, kind: pa.DataType, count: int) -> pa.Array:
    """Random bytes as such values; valid ones where bytes have no length of their own."""
    if pa.types.is_null(kind):
        return pa.nulls(count)
    if pa.types.is_primitive(kind) or pa.types.is_fixed_size_binary(kind) or pa.types.is_decimal(kind):
        held = pa.py_buffer(chance.randbytes(count * max(kind.bit_width, 8) // 8))
        known = pa.py_buffer(chance.randbytes(count // 8 + 1)) if chance.random() < 0.5 else None
        return pa.Array.from_buffers(kind, count, [known, held])
    texts = [chance.choice([None, "", "f", "é" * 5, "x" * 100, ANYBODY[0]]) for _ in range(min(count, 500))]
    return pa.array((texts * (count // 500 + 1))[:count], pa.string()).cast(kind)


def column(chance: random.Random, count: int) -> pa.Array:
    kind = chance.choice(SCALARS)
    match chance.randrange(6):
        case 0:
            members = chance.choice((0, 1, 10, 1_000_000 // count))
            inner = values(chance, kind, min(members * count, 1_000_000 if pa.types.is_null(kind) else 100_000))
            members = len(inner) // count
            if members and chance.random() < 0.5:
                return pa.FixedSizeListArray.from_arrays(inner[: members * count], members)
            offsets = pa.array([members * row for row in range(count + 1)], pa.int32())
            return pa.ListArray.from_arrays(offsets, inner)
        case 1:
            size = chance.choice((1, 100, 20_000))
            indices = pa.array([chance.randrange(size) for _ in range(count)], pa.int32())
            return pa.DictionaryArray.from_arrays(indices, values(chance, kind, size))
        case 2:
            return pa.StructArray.from_arrays([values(chance, kind, count)], ["a"])
        case _:
            return values(chance, kind, count)


def whole(chance: random.Random) -> bytes:
    """Columns of any type, under names that the model knows or does not, in several batches."""
    count = chance.choice((1, 2, 100, 2_000))
    names = chance.choice((list(GOOD), ["contact_id"], [f"c{each}" for each in range(chance.choice((1, 50, 300)))]))
    known = usual(count)
    columns = [
        known.column(name) if name in GOOD and chance.random() < 0.6 else column(chance, count) for name in names
    ]
    batch = pa.record_batch(columns, names)
    return stream([batch] * chance.choice((1, 1, 2, 20, 1_500 // len(names))))


def lists_of_nothing(chance: random.Random) -> bytes:
    members, batches = chance.choice((10, 10_000, 1_000_000, 100_000_000)), chance.choice((1, 20, 900))
    kind = chance.choice((pa.null(), pa.bool_(), pa.int8()))
    inner = pa.nulls(members) if pa.types.is_null(kind) else pa.nulls(min(members, 100_000), kind)
    lists = pa.FixedSizeListArray.from_arrays(inner, len(inner))
    if chance.random() < 0.5:
        lists = pa.ListArray.from_arrays(pa.array([0, len(inner)], pa.int32()), inner)
    name = chance.choice(("contact_id", "contact.gender"))
    return stream([pa.record_batch([lists], [name])] * min(batches, max(1, MAX_BODY_BYTES // (lists.nbytes + 300))))


def growing_dictionaries(chance: random.Random) -> bytes:
    step, text = chance.choice((1, 10, 100)), chance.choice(("", "x", "x" * 400))
    texts = [f"{text}{number}" for number in range(step * chance.choice((2, 50, 1_000)))][:20_000]
    batches = [
        pa.record_batch(
            [pa.DictionaryArray.from_arrays(pa.array([0], pa.int32()), pa.array(texts[: size + step]))], ["contact_id"]
        )
        for size in range(0, min(len(texts), 3_000_000 // (len(text) + 1)) or 1, step)
    ]
    return stream(batches, emit_dictionary_deltas=chance.random() < 0.8)


def many_batches(chance: random.Random) -> bytes:
    columns = chance.choice((1, 3, 40, 256, 2_000))
    batch = pa.record_batch([values(chance, chance.choice(SCALARS[:7]), 1)] * columns, list(map(str, range(columns))))
    return stream([batch] * chance.choice((10, 900, 20_000_000 // (columns * 150 + 300) // 4)))


def views_of_one_text(chance: random.Random) -> bytes:
    size, count = chance.choice((100, 100_000, 7_000_000)), chance.choice((1, 300, 20_000))
    view = size.to_bytes(4, "little") + bytes(12)
    array = pa.Array.from_buffers(
        pa.string_view(), count, [None, pa.py_buffer(view * count), pa.py_buffer(bytes(size))]
    )
    return stream([pa.record_batch([array], ["contact_id"])] * (1 if size > 1_000_000 else chance.choice((1, 10))))


def much_metadata(chance: random.Random) -> bytes:
    text = chance.choice(("[]," * 100_000, "[" * 60_000, "{}," * 10_000, '{"a":' * 900, "1" * 60_000, "x" * 1_000_000))
    name = chance.choice((b"campaign_attributes", b"campaign_id", b"pandas"))
    return stream([usual().replace_schema_metadata({name: f"[{text}1]".encode()})])


BOMBS: tuple[Callable[[random.Random], bytes], ...] = (
    lists_of_nothing, growing_dictionaries, many_batches, views_of_one_text, much_metadata,
)  # fmt: skip


def any_stream(chance: random.Random) -> bytes:
    match chance.randrange(10):
        case 0:
            return chance.randbytes(chance.choice((0, 8, 200)))
        case 1 | 2:
            return chance.choice(BOMBS)(chance)
        case 3:
            return mutated(chance, chance.choice(BOMBS)(chance))
        case 4 | 5 | 6:
            return whole(chance)
        case _:
            return mutated(chance, whole(chance))


@pytest.mark.fuzz
def test_any_stream_is_read_or_refused(chances):
    assert read(stream([usual()])) is None
    for chance in chances:
        refusal = read(any_stream(chance)[:MAX_BODY_BYTES])
        assert refusal is None or refusal.fields["errors"]


@pytest.mark.fuzz(inputs=30)
def test_any_stream_is_answered_over_http(chances, asking):
    asking.warm((stream([usual()]), arrow.MEDIA_TYPE), (stream([usual(2_000)]), arrow.MEDIA_TYPE))
    for chance in chances:
        asking.ask(any_stream(chance)[:MAX_BODY_BYTES], arrow.MEDIA_TYPE)


@pytest.mark.fuzz
@pytest.mark.parametrize("bomb", BOMBS)
def test_each_way_of_unpacking_to_much_is_tried(bomb):
    """Twenty of each, so that no limit goes untried by chance."""
    for number in range(20):
        refusal = read(bomb(random.Random(number))[:MAX_BODY_BYTES])
        assert refusal is None or refusal.fields["errors"]
