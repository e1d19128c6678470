"""Typed, bounded reads of JSON that somebody else wrote: what does not fit is left out and named, never guessed."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

Json = dict[str, Any]

# 1,000 bytes fit any index; the provider's ids have some 70.
LONGEST_ID = 1000
LONGEST_TEXT = 65_536
LONGEST_WORD = 64
# WhatsApp began in 2009.
EARLIEST = datetime(2009, 1, 1, tzinfo=UTC)
# Clocks differ by seconds; a moment further ahead of its receipt never was.
AHEAD = timedelta(days=1)

_ID = re.compile(r"[!-~]+")
_INTEGER = re.compile(r"[+-]?[0-9]{1,15}")
_PRICE = re.compile(r"[0-9]{1,15}(\.[0-9]{1,18})?([eE][+-]?[0-9]{1,2})?")
_MOST_CENTS = 10**12


class Fields:
    """One JSON object. `problems` names what was there and could not be read; it never holds a value."""

    __slots__ = ("_content", "_name", "problems")

    def __init__(self, content: Json, problems: list[str], name: str = "") -> None:
        self._content = content
        self._name = name
        self.problems = problems

    def __bool__(self) -> bool:
        return bool(self._content)

    def text(self, key: str, longest: int = LONGEST_TEXT) -> str | None:
        """Storable text of at most `longest` characters, cut where there is more; None for none."""
        value = self._content.get(key)
        if value is None or value == "":
            return None
        if not isinstance(value, str):
            self._odd(key, "not text")
            return None
        if len(value) > longest:
            self._odd(key, "too long")
            value = value[:longest]
        return storable(value) or None

    def word(self, key: str) -> str | None:
        """One of the provider's own words."""
        return self.text(key, LONGEST_WORD)

    def identifier(self, key: str, longest: int = LONGEST_ID) -> str | None:
        """An id as text; a whole number is taken for one. An id that is too long is none: a cut one names another."""
        value = self._content.get(key)
        if value is None or value == "":
            return None
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**30:
            value = str(value)
        if not isinstance(value, str) or len(value) > longest or not _ID.fullmatch(value):
            self._odd(key, "no id")
            return None
        return value

    def integer(self, key: str, least: int, most: int) -> int | None:
        """A whole number of `least` to `most`, also one written as text."""
        value = self._content.get(key)
        if value is None:
            return None
        if isinstance(value, str) and _INTEGER.fullmatch(value):
            value = int(value)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            self._odd(key, "no number in range")
            return None
        return value

    def cents(self, key: str) -> int | None:
        """An amount of money in cents, rounded half to even. Digits are counted before any is converted."""
        value = self._content.get(key)
        if value is None:
            return None
        written = str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value
        if isinstance(written, str) and len(written) <= 40 and _PRICE.fullmatch(written):
            cents = (Decimal(written) * 100).to_integral_value()
            if cents <= _MOST_CENTS:
                return int(cents)
        self._odd(key, "no amount")
        return None

    def moment(self, key: str, received_at: datetime) -> datetime:
        """Unix seconds as UTC; `received_at` where there is none that can be true."""
        seconds = self.integer(key, 0, 10**11)
        if seconds is None:
            if self._content.get(key) is None:
                self._odd(key, "missing")
            return received_at
        moment = datetime.fromtimestamp(min(seconds, 253_402_300_799), tz=UTC)
        if not EARLIEST <= moment <= received_at + AHEAD:
            self._odd(key, "no moment that can be true")
            return received_at
        return moment

    def object(self, key: str) -> "Fields":
        """The object under `key`, empty where there is none."""
        value = self._content.get(key)
        if value is None or isinstance(value, dict):
            return Fields(value or {}, self.problems, self._named(key))
        self._odd(key, "no object")
        return Fields({}, self.problems, self._named(key))

    def objects(self, key: str) -> Iterator["Fields"]:
        """The objects of the list under `key`."""
        value = self._content.get(key)
        if value is None:
            return
        if not isinstance(value, list):
            self._odd(key, "no list")
            return
        for item in value:
            if isinstance(item, dict):
                yield Fields(item, self.problems, self._named(key))
            else:
                self._odd(key, "holds what is no object")

    def _named(self, key: str) -> str:
        return f"{self._name}.{key}" if self._name else key

    def _odd(self, key: str, what: str) -> None:
        self.problems.append(f"{self._named(key)}: {what}")


def storable(text: str) -> str:
    """The text as PostgreSQL can hold it: without NUL, with `?` for half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        text = text.encode("utf-8", "replace").decode()
    return text.replace("\x00", "")
