"""A person's message as words that can be compared: no case, no accents, no disguise."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import NamedTuple

# What is said stands at the beginning or at the end; what is quoted or pasted between them is not read.
_READ_SIGNS = 1000
_LETTERS = str.maketrans("ıłøđþæœ" + "يی" + "ىکةہھ", "ilodtao" + "ىى" + "ىكههه")
# Latin letters that Cyrillic and Greek have in the same shape.
_LOOK_ALIKES = str.maketrans("аеорсухіјѕтмнквпβοατερυικνχςσ", "aeopcyxijstmhkbnboatepyiknxss")
_DIGITS = str.maketrans("013457@$", "oieastas")
_LAUGHED = re.compile(r"([^\W\d_])\1{2,}")
_INDIC = ("\u0900", "\u0eff")
_NUKTA, _CANDRABINDU, _ANUSVARA = "\u093c", "\u0901", "\u0902"
_BREAKS = frozenset('.,!?;:\n\r()[]"«»„“”…؟،؛।۔—–¿¡|*•。！？，、')
_STOP_SIGNS = frozenset("🛑✋⛔🚫")


class Words(NamedTuple):
    """Words in their order, and for each the number of the clause it stands in; marks end a clause. `signs` are the
    emoji that mean stop; `asks` says that the message has a question mark."""

    words: tuple[str, ...]
    clauses: tuple[int, ...]
    asks: bool


class _Signs(dict[int, str]):
    """What each sign becomes, worked out at its first use: letters stay, `\\n` ends a clause, a space ends a word."""

    def __missing__(self, point: int) -> str:
        value = _plain_sign(chr(point))
        if len(self) < 20_000:
            self[point] = value
        return value


def _plain_sign(sign: str) -> str:
    if sign in _BREAKS:
        return "\n"
    if sign == _CANDRABINDU:
        return _ANUSVARA
    category = unicodedata.category(sign)
    if sign == _NUKTA or category == "Cf" or sign == "\u0640":
        return ""
    if unicodedata.combining(sign) and not _INDIC[0] <= sign <= _INDIC[1]:
        # Vowel signs of Indic scripts and Thai are letters to their readers and stay; accents elsewhere go.
        return ""
    if category[0] == "S":
        return "\n" if category == "So" else " "
    return " " if category[0] in "PZC" else sign.translate(_LETTERS)


_SIGNS = _Signs()


def read_part(text: str) -> str:
    """What of a message is looked at: all of a usual one, of a longer one its beginning and its end."""
    if len(text) <= 2 * _READ_SIGNS:
        return text
    return f"{text[:_READ_SIGNS]}\n{text[-_READ_SIGNS:]}"


def plain(text: str) -> str:
    """Compatibility forms, no case, no accents; clauses end in a line break, words are parted by single signs."""
    if text.isascii():
        return text.lower().translate(_SIGNS)
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return unicodedata.normalize("NFC", folded.translate(_SIGNS))


def normalise(text: str) -> str:
    """The message as words only, parted by single spaces.

    >>> normalise("  ¡Darme de BAJA!! ")
    'darme de baja'
    """
    return " ".join(plain(text).split())


def words_of(text: str) -> Words:
    """The words of a message, undisguised."""
    words: list[str] = []
    clauses: list[int] = []
    for number, clause in enumerate(plain(text).split("\n")):
        for word in joined(clause.split()):
            words.append(undisguised(word))
            clauses.append(number)
    return Words(tuple(words), tuple(clauses), any(mark in text for mark in "?？؟"))


def joined(words: list[str]) -> list[str]:
    """The words with those written letter by letter (s t o p) put together: four letters or more."""
    if len(words) < 4 or sum(len(word) == 1 for word in words) < 4:
        return words
    done: list[str] = []
    letters: list[str] = []
    for word in [*words, "  "]:
        if len(word) == 1 and not word.isdigit():
            letters.append(word)
            continue
        done += ["".join(letters)] if len(letters) >= 4 else letters
        letters = []
        done.append(word)
    return done[:-1]


@lru_cache(maxsize=65_536)
def undisguised(word: str) -> str:
    """The word without letters of another script that only look right, digits for letters, or drawn-out letters.

    >>> undisguised("stоppp"), undisguised("st0p")
    ('stop', 'stop')
    """
    if len(word) > 40:
        return word
    word = _LAUGHED.sub(r"\1", word)
    if not word.isascii() and any(sign.isascii() for sign in word):
        word = word.translate(_LOOK_ALIKES)
    elif not word.isascii() and word.translate(_LOOK_ALIKES) in ("stop", "ctop"):
        word = "stop"
    if word.isascii() and not word.isalpha() and not word.isdigit() and sum(sign.isalpha() for sign in word) >= 3:
        word = word.translate(_DIGITS)
    return word


def has_stop_sign(text: str) -> bool:
    """Whether the message is nothing but a stop sign or a raised hand, once or more often."""
    if text.isascii() or len(text) > 60:
        return False
    signs = {sign for sign in text if not sign.isspace() and sign not in "\ufe0f\u200d" and not "🏻" <= sign <= "🏿"}
    return bool(signs) and signs <= _STOP_SIGNS | frozenset("!.") and bool(signs & _STOP_SIGNS)
