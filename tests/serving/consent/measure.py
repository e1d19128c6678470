"""Missed and false opt-outs by language: `python -m tests.serving.consent.measure STOP.tsv GO_ON.tsv [--show]`.

Both files have the columns `language` and `sentence`: the first holds what means "stop sending me marketing", the
second what does not. `--show` prints the sentences that were read wrongly, with the rule.
"""

from __future__ import annotations

import csv
import sys
import time
from collections import Counter
from pathlib import Path

from serving.consent.optout import OptOut, read_opt_out

HERE = Path(__file__).parent
STOP, GO_ON = HERE / "sentences_stop.tsv", HERE / "sentences_go_on.tsv"


def sentences(path: Path) -> list[tuple[str, str]]:
    """(language, sentence) of each row of a file with these columns, tab-separated and unquoted."""
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [(row["language"], row["sentence"]) for row in rows if row.get("sentence")]


def wrong(path: Path, should_stop: bool) -> list[tuple[str, str, OptOut | None]]:
    """The sentences of a file that are read wrongly, each with what was read."""
    read = [(language, text, read_opt_out(text)) for language, text in sentences(path)]
    return [(language, text, found) for language, text, found in read if (found is not None) != should_stop]


def main(arguments: list[str]) -> None:
    shows = "--show" in arguments
    paths = [Path(argument) for argument in arguments if argument != "--show"] or [STOP, GO_ON]
    print("language  missed     false")
    counts = {True: Counter[str](), False: Counter[str]()}
    errors = {True: Counter[str](), False: Counter[str]()}
    started = time.perf_counter()
    for path, should_stop in zip(paths, (True, False), strict=True):
        counts[should_stop].update(language for language, _ in sentences(path))
        for language, text, found in wrong(path, should_stop):
            errors[should_stop][language] += 1
            if shows:
                print(f"{'missed' if should_stop else 'false'}\t{language}\t{text}\t{found.rule if found else ''}")
    seconds = time.perf_counter() - started
    for language in sorted(counts[True] | counts[False]):
        cells = [f"{errors[side][language]:3} / {counts[side][language]:<4}" for side in (True, False)]
        print(f"{language:8} {cells[0]} {cells[1]}")
    for side, name in ((True, "missed"), (False, "false")):
        total = sum(counts[side].values())
        print(f"{name}: {sum(errors[side].values())} of {total} ({sum(errors[side].values()) / max(total, 1):.1%})")
    print(f"{seconds / max(sum(map(len, map(sentences, paths))), 1) * 1e6:.0f} us a sentence, first use of each word")


if __name__ == "__main__":
    main(sys.argv[1:])
