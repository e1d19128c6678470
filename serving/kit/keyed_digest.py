"""HMAC-SHA256 as an expression of SQL, for texts that only the database holds. The key stays outside of it."""

from __future__ import annotations

import hashlib

_BLOCK_BYTES = 64


def of(expression: str) -> str:
    """SQL: the digest (hex) of a text, in a statement that is executed with `parameters`."""
    return f"encode(sha256(:digest_outer || sha256(:digest_inner || convert_to({expression}, 'UTF8'))), 'hex')"


def parameters(key: str) -> dict[str, bytes]:
    """What the expression needs of the key, as RFC 2104 has it."""
    secret = key.encode()
    if len(secret) > _BLOCK_BYTES:
        secret = hashlib.sha256(secret).digest()
    block = secret.ljust(_BLOCK_BYTES, b"\0")
    return {
        "digest_outer": bytes(byte ^ 0x5C for byte in block),
        "digest_inner": bytes(byte ^ 0x36 for byte in block),
    }
