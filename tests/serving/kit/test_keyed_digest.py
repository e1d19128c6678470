"""The digest that SQL makes is the one of the standard library."""

from __future__ import annotations

import hashlib
import hmac

import pytest
import sqlalchemy as sa

from serving.kit import keyed_digest
from serving.kit.database import Database


@pytest.mark.parametrize("key", ["a key", "x" * 64, "a key longer than a block of the digest, " * 3, "ключ"])
def test_is_hmac_sha256(database, key):
    door = Database(database.app)
    with door.no_tenant() as session:
        made = session.scalar(
            sa.text(f"SELECT {keyed_digest.of('CAST(:text AS text)')}"),
            {"text": "wamid.ü"} | keyed_digest.parameters(key),
        )
    door.dispose()
    assert made == hmac.digest(key.encode(), "wamid.ü".encode(), hashlib.sha256).hex()
