"""Bytes nearly as they should be."""

from __future__ import annotations

import random
import struct

_NUMBERS = (0, 1, -1, 2**31 - 1, -(2**31), 2**32 - 1, 2**62, -(2**63), 20_000, 20_001, 1_000_000)


def mutated(chance: random.Random, body: bytes) -> bytes:
    """The same with a few places changed: bytes, numbers, pieces lost, doubled or moved."""
    made = bytearray(body)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
        if not made:
            break
        at = chance.randrange(len(made))
        until = min(len(made), at + chance.choice((1, 4, 8, 64, 1_000)))
        match chance.randrange(6):
            case 0:
                made[at] ^= 1 << chance.randrange(8)
            case 1:
                made[at] = chance.randrange(256)
            case 2:
                # Where Arrow's numbers lie.
                at -= at % 4
                made[at : at + 8] = struct.pack("<q", chance.choice(_NUMBERS))[: chance.choice((1, 4, 8))]
            case 3:
                del made[at:until]
            case 4:
                made[at:at] = made[at:until] * chance.choice((1, 2, 100))
            case 5:
                place = chance.randrange(len(made))
                made[place : place + until - at] = made[at:until]
    return bytes(made)
