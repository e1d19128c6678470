"""What the documents tell people to type exists."""

from __future__ import annotations

import re

import pytest
from typer.main import get_command

from orchestration.cli.main import app
from orchestration.runtime.home import PROJECT_ROOT

DOCUMENTS = [
    path
    for path in (
        PROJECT_ROOT / "README.md",
        PROJECT_ROOT / "CONTRIBUTING.md",
        *sorted(PROJECT_ROOT.glob("docs/**/*.md")),
    )
    if path.exists()
]
CODE = re.compile(r"```.*?```|`[^`\n]+`", re.DOTALL)
COMMAND = re.compile(r"(?:^|[\s`/(])rapport((?: +[^\s`|;&)#]+)+)", re.MULTILINE)
TARGET = re.compile(r"(?:^|[\s`(])make ([a-z][a-z-]*)", re.MULTILINE)


def typed(text: str, pattern: re.Pattern[str]) -> list[str]:
    return [found for code in CODE.findall(text) for found in pattern.findall(code)]


def fault(words: list[str]) -> str | None:
    """What is wrong with the words after `rapport`, None when they name a command and its options."""
    command = get_command(app)
    while words and not words[0].startswith("-") and hasattr(command, "commands"):
        if words[0] not in command.commands:
            return f"no command {words[0]}"
        command = command.commands[words.pop(0)]
    options = {option for parameter in command.params for option in parameter.opts} | {"--help", "--debug"}
    unknown = [word for word in words if word.startswith("--") and word.partition("=")[0] not in options]
    return f"no option {', '.join(unknown)}" if unknown else None


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(PROJECT_ROOT)))
class TestDocuments:
    def test_commands_and_options_exist(self, document) -> None:
        faults = {line: fault(line.split()) for line in typed(document.read_text(), COMMAND)}

        assert {line: wrong for line, wrong in faults.items() if wrong} == {}

    def test_make_targets_exist(self, document) -> None:
        makefile = (PROJECT_ROOT / "Makefile").read_text()
        targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))

        assert set(typed(document.read_text(), TARGET)) - targets == set()


def test_the_check_itself_notices_what_is_wrong() -> None:
    assert [fault(words.split()) for words in ("up --only api", "tenant create x --name Y", "fly", "up --fast")] == [
        None,
        None,
        "no command fly",
        "no option --fast",
    ]
    assert typed("Run `rapport up` or\n```sh\nrapport tenant create a\n```", COMMAND) == [" up", " tenant create a"]
