"""Looking for traces of a person in an installation: every file as bytes and through its reader, every table and key.

Of PostgreSQL the tables are read, not the files of its cluster: those hold dead rows until they are vacuumed, and the
log of what was written until it is recycled.
"""

from __future__ import annotations

import base64
import gzip
import json
import sqlite3
import urllib.parse
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import duckdb
import polars as pl
import psycopg
import redis


def spellings(text: str) -> list[bytes]:
    """The text as it may be written: in several encodings, escaped, and within base64 and hex of something longer."""
    found = {text.encode(codec) for codec in ("utf-8", "utf-16-le", "utf-16-be")}
    found |= {
        urllib.parse.quote(text).encode(),
        urllib.parse.quote_plus(text).encode(),
        json.dumps(text)[1:-1].encode(),
    }
    for raw in list(found):
        found |= {raw.hex().encode(), raw.hex().upper().encode()}
    for raw in (text.encode(), text.encode("utf-16-le")):
        for before in (b"", b"x", b"xx"):
            for encode in (base64.b64encode, base64.urlsafe_b64encode):
                # Two characters at either end are also of what stands beside.
                found.add(encode(before + raw).rstrip(b"=")[2 if not before else 4 : -2])
    return sorted(one for one in found if len(one) >= 8)


def phone_spellings(e164: str) -> list[bytes]:
    digits = e164.removeprefix("+")
    country, rest = digits[:2], digits[2:]
    spaced = [f"{country} {rest[:4]} {rest[4:]}", f"{rest[:3]} {rest[3:]}", f"{rest[:4]}-{rest[4:]}", rest]
    return sorted({*spellings(digits), *spellings(rest), *(text.encode() for text in spaced)})


class Traces:
    """`needles`: what each thing to look for is called, and how it may be written. `clean` are the files that an
    earlier look found nothing in, and that are not read again unless they changed."""

    def __init__(self, needles: dict[str, list[bytes]], clean: set[tuple[str, int, int]]) -> None:
        self.needles = needles
        self.clean = clean
        self.found: set[tuple[str, str]] = set()

    def look(self, place: str, content: bytes) -> None:
        self.found |= {
            (place, name) for name, written in self.needles.items() if any(one in content for one in written)
        }

    @property
    def places(self) -> set[str]:
        return {place for place, _ in self.found}

    def in_files(self, folder: Path) -> Traces:
        cluster = folder / "postgres" / "data"
        for file in sorted(folder.rglob("*")):
            if not file.is_file() or file.is_relative_to(cluster):
                continue
            seen = (str(file), file.stat().st_size, file.stat().st_mtime_ns)
            if seen in self.clean:
                continue
            place, content = str(file.relative_to(folder)), file.read_bytes()
            self.look(place, place.encode())
            self.look(place, content)
            for part in _read(file, content):
                self.look(place, part)
            if place not in self.places:
                self.clean.add(seen)
        return self

    def in_postgres(self, url: str) -> Traces:
        with psycopg.connect(url) as connection:
            tables = connection.execute(
                "SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname) FROM pg_class c JOIN pg_namespace n"
                " ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'm') AND n.nspname NOT IN ('information_schema')"
            ).fetchall()
            for (table,) in tables:
                self.look(
                    f"postgres:{table}", _joined(connection.execute(f"SELECT t::text FROM {table} AS t").fetchall())
                )
        return self

    def in_redis(self, url: str) -> Traces:
        with redis.Redis.from_url(url) as client:
            for key in client.scan_iter():
                kind = client.type(key)
                read = {
                    b"string": lambda k: [client.get(k)],
                    b"hash": lambda k: [part for pair in client.hgetall(k).items() for part in pair],
                    b"set": lambda k: client.smembers(k),
                    b"zset": lambda k: client.zrange(k, 0, -1),
                    b"list": lambda k: client.lrange(k, 0, -1),
                }
                for content in (key, *read[kind](key)):
                    self.look(f"redis:{key.decode(errors='replace')}", content or b"")
        return self


def _read(file: Path, content: bytes) -> Iterator[bytes]:
    """What a reader of the file's format finds in it."""
    if content[:2] == b"\x1f\x8b":
        yield gzip.decompress(content)
    if content[:1] == b"\x78":
        try:
            yield zlib.decompress(content)
        except zlib.error:
            return
    if content[:4] == b"PAR1":
        yield "\n".join(map(str, pl.read_parquet(content).iter_rows())).encode()
        yield json.dumps(pl.read_parquet_metadata(content)).encode()
    if content[8:12] == b"DUCK":
        with duckdb.connect(str(file), read_only=True) as connection:
            tables = connection.execute(
                "SELECT table_schema, table_name FROM information_schema.tables WHERE table_type = 'BASE TABLE'"
            ).fetchall()
            for schema, table in tables:
                source = f'"{file.stem}"."{schema}"."{table}"'
                yield _joined(connection.execute(f"SELECT t::varchar FROM {source} AS t").fetchall())
    if content[:15] == b"SQLite format 3":
        with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as connection:
            for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
                for row in connection.execute(f'SELECT * FROM "{table}"'):
                    for value in row:
                        yield value if isinstance(value, bytes) else str(value).encode()


def _joined(rows: Iterable[tuple[str]]) -> bytes:
    return "\n".join(row for (row,) in rows).encode()
