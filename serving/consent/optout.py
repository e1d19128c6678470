"""Whether a person's own words end marketing: an exact word certainly, a sentence probably, by a rule that is named."""

from __future__ import annotations

from typing import Literal, NamedTuple

from serving.consent.grammar import grammar
from serving.consent.keywords import stop_language
from serving.consent.text import has_stop_sign, read_part

Grade = Literal["word", "sentence"]


class OptOut(NamedTuple):
    """`grade` is "word" where the whole message is a known word, "sentence" where a rule tells it. `rule` says which;
    `language` is the rule's, None where signs have none."""

    grade: Grade
    language: str | None
    rule: str


def read_opt_out(text: str | None) -> OptOut | None:
    """What the message says about ending marketing, or None. The same text always gives the same answer."""
    if not text:
        return None
    if (language := stop_language(text)) is not None:
        return OptOut("word", language, "word")
    if has_stop_sign(text):
        return OptOut("word", None, "stop sign")
    read = grammar()
    text = read_part(text)
    found = list(read.matches(text))
    if not found:
        return None
    known = read.spoken(text)
    # Neighbouring languages share words: the one that knows most of the message's wins.
    best = max(found, key=lambda match: (known.get(match.language, 0), match.end - match.start))
    return OptOut("sentence", best.language, best.name)


def read_choice(label: str | None, name: str | None) -> OptOut | None:
    """As `read_opt_out`, of a button or list row: its label, or the name its sender gave it. Pressing it is certain."""
    for text in (label, name):
        if (read := read_opt_out(text)) is not None:
            return OptOut("word", read.language, f"button: {read.rule}")
    return None
