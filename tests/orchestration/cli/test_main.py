"""The command as a shell sees it: words in, one line of error, an exit code."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from orchestration.runtime.home import PROJECT_ROOT, Home
from orchestration.runtime.postgres import EmbeddedPostgres

HEAVY = (
    "dagster",
    "mlflow",
    "great_expectations",
    "transformers",
    "sqlalchemy",
    "polars",
    "duckdb",
    "fastapi",
    "numpy",
)
RAPPORT = "import sys; from orchestration.cli.main import main; main()"


def rapport(*words: str, home: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"RAPPORT_HOME": str(home), "RAPPORT_ENV_FILE": os.devnull} | settings
    command = [sys.executable, "-c", RAPPORT, *words]
    return subprocess.run(command, cwd="/", env=environment, capture_output=True, text=True, timeout=60, check=False)


def refusal(done: subprocess.CompletedProcess[str]) -> tuple[int, str]:
    """The exit code and the one line of error."""
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    return done.returncode, line.removeprefix("error: ")


COMMANDS = [
    [],
    ["demo"],
    ["up"],
    ["down"],
    ["status"],
    ["doctor"],
    ["migrate"],
    ["import"],
    ["run"],
    ["backfill"],
    ["features", "list"],
    ["features", "drift"],
    ["models"],
    ["train"],
    ["tenant", "create"],
]


class TestHelp:
    @pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
    def test_comes_at_once(self, words: list[str], tmp_path: Path) -> None:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = rapport(*words, "--help", home=tmp_path)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)

        assert done.returncode == 0
        assert "Usage: " + " ".join(["rapport", *words]) in done.stdout
        assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1.5

    def test_imports_nothing_heavy(self) -> None:
        program = f"import sys, orchestration.cli.main; print([n for n in {HEAVY} if n in sys.modules])"
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=PROJECT_ROOT, capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == "[]"


class TestRefusals:
    def test_an_unknown_command_is_wrong_input(self, tmp_path: Path) -> None:
        code, line = refusal(rapport("fly", home=tmp_path))
        assert (code, "No such command 'fly'" in line) == (2, True)

    def test_a_missing_option_is_named(self, tmp_path: Path) -> None:
        code, line = refusal(rapport("tenant", "create", "acme", home=tmp_path))
        assert code == 2
        assert "--name" in line
        assert "rapport tenant create --help" in line

    def test_an_unknown_process_is_wrong_input(self, tmp_path: Path) -> None:
        assert refusal(rapport("up", "--only", "apiary", home=tmp_path)) == (2, "no such process: apiary")

    def test_a_damaged_state_file_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "state.json").write_text("{")
        code, line = refusal(rapport("status", home=tmp_path))
        assert code == 1
        assert str(tmp_path / "state.json") in line

    def test_a_folder_that_cannot_be_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        code, line = refusal(rapport("up", home=tmp_path / "file" / "home"))
        assert code == 1
        assert str(tmp_path / "file" / "home") in line

    def test_a_database_that_is_not_there_is_one_line_without_its_password(self, tmp_path: Path) -> None:
        url = "postgresql://me:hidden@127.0.0.1:9/rapport"
        code, line = refusal(rapport("migrate", home=tmp_path, DATABASE_URL=url, REDIS_URL="redis://127.0.0.1:9"))
        assert code == 3
        assert line.startswith(("DATABASE_URL", "REDIS_URL"))
        assert "hidden" not in line

    def test_a_traceback_comes_with_debug_only(self, tmp_path: Path) -> None:
        (tmp_path / "state.json").write_text("{")
        assert "Traceback" in rapport("status", "--debug", home=tmp_path).stderr
        assert "Traceback" in rapport("--debug", "status", home=tmp_path).stderr

    def test_a_bad_line_of_the_settings_file_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "env").write_text("nonsense\n")
        code, line = refusal(rapport("status", home=tmp_path, RAPPORT_ENV_FILE=str(tmp_path / "env")))
        assert (code, line) == (2, f"{tmp_path / 'env'}, line 1: not NAME=value")


class TestStatus:
    def test_nothing_started_is_no_failure(self, tmp_path: Path) -> None:
        done = rapport("status", "--json", home=tmp_path)
        assert done.returncode == 0
        assert {line["state"] for line in json.loads(done.stdout)} == {"stopped"}

    def test_servers_of_ones_own_are_told_and_asked(self, home: Home, redis_url: str, tmp_path: Path) -> None:
        url = EmbeddedPostgres(home).url("postgres", "postgres_admin", "postgres")

        done = rapport("status", "--json", home=tmp_path, DATABASE_URL=url, REDIS_URL=redis_url)

        stores = json.loads(done.stdout)[:2]
        assert [(one["address"], one["state"]) for one in stores] == [
            ("as DATABASE_URL says", "running"),
            ("as REDIS_URL says", "running"),
        ]
        assert done.returncode == 0
        assert rapport("status", home=tmp_path, DATABASE_URL=url, REDIS_URL="redis://127.0.0.1:9").returncode == 3


class TestDown:
    def test_nothing_to_stop_is_no_failure(self, tmp_path: Path) -> None:
        done = rapport("down", "--json", home=tmp_path)
        assert (done.returncode, json.loads(done.stdout)) == (0, {"stopped": []})


class TestDoctor:
    def test_tells_each_requirement(self, tmp_path: Path) -> None:
        done = rapport("doctor", "--json", home=tmp_path)
        assert done.returncode == 0
        assert all(finding["ok"] for finding in json.loads(done.stdout))
        assert len(json.loads(done.stdout)) >= 5

    def test_an_unusable_folder_is_a_finding(self, tmp_path: Path) -> None:
        (tmp_path / "secrets.json").write_text("?")
        done = rapport("doctor", "--json", home=tmp_path)
        assert done.returncode == 3
        assert [finding["name"] for finding in json.loads(done.stdout) if not finding["ok"]] == [
            "RAPPORT_HOME is usable"
        ]
