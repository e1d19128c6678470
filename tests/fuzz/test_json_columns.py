"""Any JSON is answered or refused, for little: names without end, lists of lists, numbers and texts beyond bounds."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.exceptions import RequestValidationError

from serving.errors import ServingError
from serving.prediction import batches, json_bodies
from serving.prediction.given import columns_of
from tests.fuzz.limits import within_limits
from tests.fuzz.mutation import mutated
from tests.fuzz.predictions import ANYBODY, FIELDS, GOOD, USUAL

MAX_BODY_BYTES = 8_000_000
JSON = "application/json"
ODD: tuple[bytes, ...] = (
    b"null", b"true", b"-0", b"1e400", b"-1e-400", b"1" * 30, b"1" * 5_000, b"1e99999", b"NaN", b"-Infinity", b'""',
    b'"\\ud800"', b'"\\u0000"', b'"2026-03-01T00:00:00Z"', b'"99999-01-01"', b"[]", b"{}", b"[[1]]", b'{"a":[1]}',
    b'["f","m"]', '"é😀"'.encode(), b'"\xff"', b"[" * 500 + b"]" * 500, b"{\"a\":" * 30 + b"1" + b"}" * 30,
    b'"' + b"x" * 20_000 + b'"',
)  # fmt: skip
NAMES = (*GOOD, "orders_total\0", "\\ud800", "campaign_id", "columns", "", "é", "x" * 5_000)


def read(body: bytes) -> Exception | None:
    """As the route does, to where the model is asked; its refusal."""
    with within_limits(body):
        try:
            asked = asyncio.run(json_bodies.read_batch(body, declared=True))
            if isinstance(asked, tuple):
                batches._features(FIELDS, asked[1], "Europe/Berlin")
            elif asked is not None and asked.columns is not None:
                batches._features(FIELDS, asked.columns, "Europe/Berlin")
            elif asked is not None and asked.rows is not None:
                batches._features(FIELDS, columns_of(FIELDS, asked.rows), "Europe/Berlin")
        except (ServingError, RequestValidationError) as refusal:
            return refusal
    return None


def check(refusal: Exception | None) -> None:
    """It is short, whatever was asked."""
    if isinstance(refusal, ServingError):
        assert refusal.status in (413, 422)
    elif isinstance(refusal, RequestValidationError):
        assert len(refusal.errors()) <= 1_300


def told(name: str) -> bytes:
    return b'"' + name.replace("\0", "\\u0000").encode() + b'"'


def one_of(chance: random.Random, usual: list[Any]) -> bytes:
    return chance.choice(ODD) if chance.random() < 0.02 else json.dumps(chance.choice(usual)).encode()


def given(chance: random.Random) -> bytes:
    """Columns or rows, a little odd."""
    names = [*GOOD] if chance.random() < 0.7 else [chance.choice(NAMES) for _ in range(chance.randrange(9))]
    count = chance.choice((0, 1, 2, 30, 1_000, 1_001, 30_000))
    if chance.random() < 0.5:
        lists = [b"[" + b",".join(one_of(chance, GOOD.get(name, [1])) for _ in range(count)) + b"]" for name in names]
        if chance.random() < 0.1 and lists:
            lists[0] = chance.choice(ODD)
        return (
            b'{"columns":{'
            + b",".join(told(name) + b":" + each for name, each in zip(names, lists, strict=True))
            + b"}"
        )
    rows = (
        b"{" + b",".join(told(name) + b":" + one_of(chance, GOOD.get(name, [1])) for name in names) + b"}"
        for _ in range(min(count, 2_000))
    )
    return b'{"rows":[' + b",".join(rows) + b"]"


def whole(chance: random.Random) -> bytes:
    body = given(chance)
    for _ in range(chance.choice((0, 0, 0, 1, 2))):
        name = chance.choice((b"campaign_id", b"campaign_attributes", b"columns", b"rows", b"contact_ids", b"other"))
        value = chance.choice((*ODD, json.dumps(ANYBODY).encode(), json.dumps({"reward": 2}).encode()))
        body += b',"%b":%b' % (name, value)
    return body + b"}"


def many_names(chance: random.Random) -> bytes:
    count, value = chance.choice((257, 5_000, 100_000, 549_999)), chance.choice((b"[1]", b"1", b"{}", b'"x"'))
    names = b",".join(b'"%d":%b' % (number, value) for number in range(count))
    return chance.choice((b'{"columns":{%b}}', b'{%b,"columns":{}}', b'{"columns":{},%b}', b'{"rows":[{%b}]}')) % names


def small_values(chance: random.Random) -> bytes:
    value = chance.choice(
        (b"[]", b"{}", b"0", b'""', b'"ab"', b"0.5", b"[0]", b"null", b'{"":0}', b"1e9", b'[{},"ab"]')
    )
    values = b",".join([value] * (chance.choice((1_000, 100_000, 4_000_000, 8_000_000)) // (len(value) + 1)))
    around = (b'{"columns":{"contact.gender":[%b]}}', b'{"rows":[%b]}', b'{"contact_ids":[%b]}', b"[%b]",
              b'{"columns":{"contact.gender":[[%b]]}}', b'{"rows":[{"contact.gender":[%b]}]}')  # fmt: skip
    return chance.choice(around) % values


def huge_text(chance: random.Random) -> bytes:
    size = chance.choice((100_000, 3_900_000, 7_900_000))
    text = chance.choice((b"x", b"\\u00e9", "é".encode(), b"\\\\", b"0", b"\\ud800"))
    value = b'"' + text * (size // len(text)) + chance.choice((b"", "😀".encode())) + b'"'
    around = (b'{"columns":{"contact.gender":[%b]}}', b'{"rows":[{"contact.gender":%b}]}', b'{%b:1}', b"%b",
              b'{"columns":{"orders_total":[%b]}}', b'{"contact_ids":[%b]}')  # fmt: skip
    return chance.choice(around) % value


def huge_numbers(chance: random.Random) -> bytes:
    digits = b"9" * chance.choice((19, 400, 4_300, 4_301, 1_000_000))
    number = chance.choice((b"%b", b"-%b", b"0.%b", b"1e%b", b"%b.5e-3")) % digits
    numbers = b",".join([number] * min(1_000, 4_000_000 // len(number)))
    columns = b'{"columns":{"orders_total":[%b],"last_order_at":[null],"contact.gender":[null]}}'
    return chance.choice((columns, b'{"contact_ids":[%b]}')) % numbers


def deep(chance: random.Random) -> bytes:
    opened, closed = chance.choice(((b"[", b"]"), (b'{"a":', b"}"), (b"[1,", b"]")))
    depth = chance.choice((900, 1_100, 100_000, 1_300_000))
    return chance.choice((b"%b", b'{"columns":{"contact.gender":[%b]}}')) % (opened * depth + b"1" + closed * depth)


BOMBS: tuple[Callable[[random.Random], bytes], ...] = (
    many_names, small_values, huge_text, huge_numbers, deep,
)  # fmt: skip


def any_body(chance: random.Random) -> bytes:
    match chance.randrange(10):
        case 0:
            return chance.randbytes(chance.choice((0, 1, 300)))
        case 1 | 2:
            return chance.choice(BOMBS)(chance)
        case 3:
            return mutated(chance, chance.choice(BOMBS)(chance))
        case 4 | 5 | 6:
            return whole(chance)
        case _:
            return mutated(chance, whole(chance))


@pytest.mark.fuzz
def test_any_body_is_read_or_refused(chances):
    assert read(USUAL) is None
    for chance in chances:
        check(read(any_body(chance)[:MAX_BODY_BYTES]))


@pytest.mark.fuzz(inputs=30)
def test_any_body_is_answered_over_http(chances, asking):
    asking.warm((USUAL, JSON), (USUAL, f"{JSON}; charset=utf-8"))
    for chance in chances:
        content_type = chance.choice((JSON, JSON, JSON, f"{JSON}; charset=utf-8", f"{JSON}; odd=1", "text/plain"))
        asking.ask(any_body(chance)[:MAX_BODY_BYTES], content_type)


@pytest.mark.fuzz
@pytest.mark.parametrize("bomb", BOMBS)
def test_each_way_of_costing_much_is_tried(bomb):
    """Ten of each, so that no limit goes untried by chance."""
    for number in range(10):
        check(read(bomb(random.Random(number))[:MAX_BODY_BYTES]))
