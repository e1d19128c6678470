"""Small grammars that tell what a message means, one file a language; see languages/README.md for how to write one.

A word belongs to classes, a rule is a row of classes with gaps. Every message is read with all languages at once:
people mix them. The time is linear in the message's length.
"""

from __future__ import annotations

import tomllib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from typing import NamedTuple

from serving.consent.text import Words, normalise, words_of

_GAPS = {"..": 2, "...": 5}
_MOST_WORDS = 160
_ARABIC_PREFIXES = ("وال", "بال", "فال", "هال", "كال", "لل", "ال", "و", "ف", "ب", "ل", "ه", "ع")
_TYPO_LETTERS = 7
# A longer message says more than a stop word and courtesies.
_MOST_WORDS_ALONE = 20
# What a short word adds to a class's commonness.
_SHORT_WORD = 500


# class -> where its entries begin -> where each of them ends
_Hits = dict[int, dict[int, list[int]]]


class Match(NamedTuple):
    """A rule that fits: `name` is its text, `start` and `end` are positions of words."""

    language: str
    name: str
    start: int
    end: int


class _Phrase(NamedTuple):
    """One entry of a class: what follows its first word, and whether each word is a stem."""

    group: int
    rest: tuple[tuple[str, bool], ...]


class _Known(NamedTuple):
    """What the grammar knows of a word: the classes it may begin an entry of (as bits too), and the rules it calls."""

    phrases: tuple[_Phrase, ...]
    groups: int
    rules: tuple[_Rule, ...]


class _Step(NamedTuple):
    """A part of a row: a class, how many words may stand before it, and whether the clause's end does as well."""

    group: int
    gap: int
    or_end: bool


@dataclass(slots=True)
class _Row:
    """Classes in their order, within one clause."""

    steps: list[_Step] = field(default_factory=list)
    at_start: bool = False
    at_end: bool = False
    is_last_word: bool = False


@dataclass(slots=True)
class _Rule:
    """Rows that all have to fit somewhere in the message; the first says where the rule does. `needed` are the classes
    that have to occur and `used` all that it names, as bits. `alone`: the rest of the message is courtesies."""

    language: str
    name: str
    rows: list[_Row]
    asks: bool = False
    alone: bool = False
    needed: int = 0
    used: int = 0


@dataclass(slots=True)
class Grammar:
    """All languages' rules. `stop` tells an opt-out; `unless` takes back what it overlaps, `never` everything."""

    exact: dict[str, list[_Phrase]] = field(default_factory=lambda: defaultdict(list))
    stems: dict[str, list[_Phrase]] = field(default_factory=lambda: defaultdict(list))
    rules: dict[str, list[_Rule]] = field(default_factory=lambda: {"stop": [], "unless": [], "never": []})
    fillers: dict[str, list[tuple[str, ...]]] = field(default_factory=lambda: defaultdict(list))
    corrections: dict[str, str] = field(default_factory=dict)
    _courtesies: int = 0
    _groups: dict[str, int] = field(default_factory=dict)
    _languages: dict[int, str] = field(default_factory=dict)
    _entries: dict[str, list[str]] = field(default_factory=dict)
    _cache: dict[str, _Known] = field(default_factory=dict)
    _called: dict[int, list[_Rule]] | None = None

    # ---- reading the files ----

    def add_language(self, language: str, source: dict[str, object]) -> None:
        """Raises: ValueError for a class or rule that cannot be read."""
        classes: dict[str, str] = source.get("classes", {})  # type: ignore[assignment]
        rules: dict[str, list[str]] = source.get("rules", {})  # type: ignore[assignment]
        for name, entries in classes.items():
            self._entries[f"{language}:{name}"] = [entry.strip() for entry in entries.split(",") if entry.strip()]
        for filler in str(source.get("fillers", "")).split(","):
            if words := tuple(normalise(filler).split()):
                self.fillers[words[0]].append(words)
        self._entries[f"{language}:COURTESIES"] = str(source.get("courtesies", "")).split(",")
        self._courtesies |= 1 << self._group(language, "COURTESIES")
        for word in str(source.get("typos", "")).split(","):
            self._add_typos(normalise(word))
        for kind, texts in rules.items():
            for text in texts:
                self.rules[kind].append(self._rule(language, text))

    def _rule(self, language: str, text: str) -> _Rule:
        rule, gap = _Rule(language, text, [_Row()]), 0
        for part in text.split():
            row = rule.rows[-1]
            if part in _GAPS:
                gap = _GAPS[part]
            elif part == "^":
                row.at_start = True
            elif part == "$":
                row.at_end = True
            elif part == "$$":
                row.at_end = row.is_last_word = True
            elif part == "&":
                rule.rows.append(_Row())
            elif part == "?":
                rule.asks = True
            elif part == "=":
                rule.alone = row.at_start = True
            else:
                step = _Step(self._group(language, part), gap, "$" in part.split("|"))
                row.steps.append(step)
                gap = 0
                rule.used |= 1 << step.group
                if not step.or_end:
                    rule.needed |= 1 << step.group
        if not all(row.steps for row in rule.rows):
            raise ValueError(f"{language}: a rule without words: {text!r}")
        return rule

    def _group(self, language: str, part: str) -> int:
        name = f"{language}:{part}"
        if name in self._groups:
            return self._groups[name]
        group = self._groups[name] = len(self._groups)
        self._languages[group] = language
        for choice in part.split("|"):
            if choice == "$":
                continue
            if choice.isupper() and choice.isascii():
                if f"{language}:{choice}" not in self._entries:
                    raise ValueError(f"{language}: there is no class {choice}")
                entries = [entry for entry in self._entries[f"{language}:{choice}"] if entry.strip()]
            else:
                entries = [choice.replace("_", " ")]
            for entry in entries:
                self._add_entry(group, entry)
        return group

    def _add_entry(self, group: int, entry: str) -> None:
        forms = {entry}
        if "'" in entry:
            forms.add(entry.replace("'", ""))
        for form in forms:
            # A star is no word sign: it is put back after the words were normalised.
            parts = []
            for piece in form.split():
                words = normalise(piece.removesuffix("*")).split()
                parts += [(word, False) for word in words]
                if piece.endswith("*"):
                    parts[-1] = (parts[-1][0], True)
            if not parts:
                raise ValueError(f"an entry without a word: {entry!r}")
            (first, is_stem), rest = parts[0], tuple(parts[1:])
            (self.stems if is_stem else self.exact)[first].append(_Phrase(group, rest))

    def _add_typos(self, word: str) -> None:
        """All words one slip away from `word`: a letter left out, two exchanged, one doubled."""
        for index in range(len(word)):
            self.corrections.setdefault(word[:index] + word[index + 1 :], word)
            self.corrections.setdefault(word[:index] + word[index] * 2 + word[index + 1 :], word)
            if index:
                swapped = word[: index - 1] + word[index] + word[index - 1] + word[index + 1 :]
                self.corrections.setdefault(swapped, word)

    # ---- reading a message ----

    def matches(self, text: str) -> Iterator[Match]:
        """What says stop in the message and is not taken back by what surrounds it, in no particular order."""
        read = self._without_fillers(words_of(text))
        known = [self._known(word) for word in read.words]
        present = 0
        for word in known:
            present |= word.groups
        called = {
            id(rule): rule
            for word in known
            for rule in word.rules
            if rule.needed & present == rule.needed and (read.asks or not rule.asks)
        }
        if not called:
            return
        found = list(self._fitting(called.values(), read, known))
        if not found or next(self._fitting(self._possible("never", present, read), read, known), None) is not None:
            return
        vetoes = list(self._fitting(self._possible("unless", present, read), read, known))
        for match in found:
            if not any(veto.start < match.end and match.start < veto.end for veto in vetoes):
                yield match

    def spoken(self, text: str) -> dict[str, int]:
        """How many words of the message each language's classes know."""
        known: dict[str, int] = defaultdict(int)
        for word in words_of(text).words:
            for language in {self._languages[phrase.group] for phrase in self._known(word).phrases}:
                known[language] += 1
        return known

    def _without_fillers(self, read: Words) -> Words:
        words, clauses, kept, position = read.words, read.clauses, [], 0
        while position < len(words):
            length = 0
            for filler in self.fillers.get(words[position], ()):
                if words[position : position + len(filler)] == filler:
                    length = max(length, len(filler))
            if not length:
                kept.append(position)
            position += length or 1
        if len(kept) > _MOST_WORDS:
            kept = kept[: _MOST_WORDS // 2] + kept[-_MOST_WORDS // 2 :]
        return Words(tuple(words[index] for index in kept), tuple(clauses[index] for index in kept), read.asks)

    def _possible(self, kind: str, present: int, read: Words) -> list[_Rule]:
        return [
            rule
            for rule in self.rules[kind]
            if rule.needed & present == rule.needed and (read.asks or not rule.asks)
        ]  # fmt: skip

    def _fitting(self, rules: Iterable[_Rule], read: Words, known: Sequence[_Known]) -> Iterator[Match]:
        wanted, rules = 0, list(rules)
        for rule in rules:
            wanted |= rule.used
        hits = _hits(read.words, known, wanted)
        for rule in rules:
            first, *others = rule.rows
            if all(next(_spans(row, hits, read.clauses), None) is not None for row in others):
                for start, end in _spans(first, hits, read.clauses):
                    if not rule.alone or self._is_alone(start, end, read, known):
                        yield Match(rule.language, rule.name, start, end)

    def _is_alone(self, start: int, end: int, read: Words, known: Sequence[_Known]) -> bool:
        """Whether the words before and after are courtesies, of whatever language, and no question."""
        if read.asks or len(read.words) > _MOST_WORDS_ALONE:
            return False
        said = set(range(start, end))
        for places in _hits(read.words, known, self._courtesies).values():
            for begin, ends in places.items():
                said.update(range(begin, max(ends)))
        return len(said) == len(read.words)

    def _known(self, word: str) -> _Known:
        known = self._cache.get(word)
        if known is None:
            if self._called is None:
                self._called = self._callers()
            rules: list[_Rule] = []
            phrases, groups = tuple(self._look_up(word)), 0
            for group in dict.fromkeys(phrase.group for phrase in phrases):
                groups |= 1 << group
                rules += self._called.get(group, ())
            known = _Known(phrases, groups, tuple(rules))
            if len(self._cache) < 50_000:
                self._cache[word] = known
        return known

    def _callers(self) -> dict[int, list[_Rule]]:
        """The rules that tell an opt-out, each under the rarest of its classes: of few words, none of them short."""
        commonness: dict[int, int] = defaultdict(int)
        for entries in (self.exact, self.stems):
            for word, phrases in entries.items():
                for phrase in phrases:
                    commonness[phrase.group] += len(phrases) ** 2 + (_SHORT_WORD if len(word) <= 3 else 0)
        called: dict[int, list[_Rule]] = defaultdict(list)
        for rule in self.rules["stop"]:
            steps = [step for row in rule.rows for step in row.steps if not step.or_end]
            called[min((step.group for step in steps), key=lambda group: commonness[group])].append(rule)
        return called

    def _look_up(self, word: str) -> list[_Phrase]:
        found: list[_Phrase] = []
        for form in _forms(word):
            found += self.exact.get(form, ())
            for length in range(2, len(form) + 1):
                found += self.stems.get(form[:length], ())
        if not found and len(word) >= _TYPO_LETTERS - 1 and word in self.corrections:
            return self._look_up(self.corrections[word])
        return found


def _hits(words: tuple[str, ...], known: Sequence[_Known], wanted: int) -> _Hits:
    """For each wanted class where its entries begin, and where each of them ends."""
    hits: _Hits = {}
    count = len(words)
    for start, word in enumerate(known):
        if not word.groups & wanted:
            continue
        for group, rest in word.phrases:
            if not wanted >> group & 1:
                continue
            end = start + 1
            if rest:
                if end + len(rest) > count:
                    continue
                fits = all(
                    words[end + index].startswith(part) if is_stem else words[end + index] == part
                    for index, (part, is_stem) in enumerate(rest)
                )
                if not fits:
                    continue
                end += len(rest)
            hits.setdefault(group, {}).setdefault(start, []).append(end)
    return hits


def _forms(word: str) -> Iterator[str]:
    """The word, and what is left of an Arabic one without its article and joined prepositions."""
    yield word
    if "\u0600" <= word[0] <= "\u06ff":
        for prefix in _ARABIC_PREFIXES:
            if word.startswith(prefix) and len(word) - len(prefix) >= 3:
                yield word[len(prefix) :]


def _spans(row: _Row, hits: _Hits, clauses: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """Where the row fits: at most once for each place it can begin."""
    for start, ends in hits.get(row.steps[0].group, {}).items():
        if row.at_start and start and clauses[start - 1] == clauses[start]:
            continue
        reached = set(ends)
        for step in row.steps[1:]:
            closed = {end for end in reached if step.or_end and _is_last(end, clauses)}
            starts = hits.get(step.group, {})
            reached = closed | {
                following
                for end in reached
                for begin in range(end, end + step.gap + 1)
                if begin in starts and clauses[begin] == clauses[start]
                for following in starts[begin]
            }
            if not reached:
                break
        for end in reached:
            if row.is_last_word and (end < len(clauses) or clauses[start] == clauses[0]):
                continue
            if clauses[end - 1] == clauses[start] and (not row.at_end or _is_last(end, clauses)):
                yield start, end
                break


def _is_last(end: int, clauses: tuple[int, ...]) -> bool:
    return end == len(clauses) or clauses[end] != clauses[end - 1]


@lru_cache
def grammar() -> Grammar:
    """All languages, read once a process."""
    read = Grammar()
    for entry in sorted(resources.files("serving.consent.languages").iterdir(), key=lambda entry: entry.name):
        if entry.name.endswith(".toml"):
            read.add_language(entry.name.removesuffix(".toml"), tomllib.loads(entry.read_text(encoding="utf-8")))
    return read
