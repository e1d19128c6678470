"""The workflows call what there is: commands with their options, models by their names, files of this repository."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from orchestration.runtime.home import PROJECT_ROOT
from tests.orchestration.cli.test_documented_commands import fault
from training.models import MODEL_NAMES

FOLDER = PROJECT_ROOT / ".github" / "workflows"
RAPPORT = re.compile(r"\.venv/bin/rapport (.*)")
TARGET = re.compile(r"\bmake ([a-z-]+)")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")


def workflow(name: str) -> dict[Any, Any]:
    parsed = yaml.safe_load((FOLDER / name).read_text())
    assert isinstance(parsed, dict)
    return parsed


def scripts(parsed: dict[Any, Any]) -> list[str]:
    return [step["run"] for job in parsed["jobs"].values() for step in job["steps"] if "run" in step]


class TestWorkflows:
    def test_there_are_two(self) -> None:
        assert sorted(path.name for path in FOLDER.iterdir()) == ["ci.yml", "retrain.yml"]

    @pytest.mark.parametrize("name", ["ci.yml", "retrain.yml"])
    def test_name_no_host_no_secret_and_no_folder_of_a_machine(self, name: str) -> None:
        text = (FOLDER / name).read_text()
        assert re.findall(r"://|secrets\.|(?<![\w.])/(?:home|root|work|Users|opt|srv)\b|\.(?:com|org|io)\b", text) == []

    def test_ci_runs_the_recipe(self) -> None:
        assert scripts(workflow("ci.yml")) == [".ci/run"]
        assert os.access(PROJECT_ROOT / ".ci" / "run", os.X_OK)


class TestRetrain:
    def test_the_commands_exist_and_take_every_option_it_may_add(self) -> None:
        script = "\n".join(scripts(workflow("retrain.yml")))
        commands = [line.split()[0] for line in RAPPORT.findall(script)]
        assert commands == ["run", "train", "score"]
        select, *options = OPTION.findall(script)
        assert (select, options) == ("--select", ["--tenant", "--model"])
        assert [fault([command, *options]) for command in commands[1:]] == [None, None]
        assert fault(["run", select]) is None
        targets = set(re.findall(r"^([a-z-]+):", (PROJECT_ROOT / "Makefile").read_text(), re.MULTILINE))
        assert set(TARGET.findall(script)) <= targets

    @pytest.mark.parametrize("told_in", [".github/workflows/retrain.yml", "docs/how-to/warehouse.md"])
    def test_what_arrived_is_brought_up_to_the_marts_and_no_further(self, told_in: str) -> None:
        from orchestration.definitions import defs
        from orchestration.defs.automation.jobs import refresh

        [selection] = re.findall(r"rapport run --select '([^']+)'", (PROJECT_ROOT / told_in).read_text())
        graph = defs.resolve_asset_graph()
        found = dg.AssetSelection.from_string(" ".join(selection.split())).resolve(graph)
        assert isinstance(refresh.selection, dg.AssetSelection)
        assert found == refresh.selection.resolve(graph)

    def test_offers_the_models_there_are(self) -> None:
        # YAML 1.1 reads the key `on` as true.
        inputs = workflow("retrain.yml")[True]["workflow_dispatch"]["inputs"]
        assert sorted(inputs["model"]["options"]) == sorted(["all", *MODEL_NAMES])
        assert inputs["tenant"]["default"] == ""

    def test_it_trains_when_dagsters_schedule_would(self) -> None:
        from orchestration.defs.automation.schedules import weekly_training

        [clock] = workflow("retrain.yml")[True]["schedule"]
        assert clock["cron"] == weekly_training.cron_schedule

    @pytest.mark.parametrize(
        ("given", "expected"),
        [
            ({"TENANT": "", "MODEL": ""}, ""),  # by the clock there are no inputs
            ({"TENANT": "", "MODEL": "all"}, ""),
            ({"TENANT": "corner shop", "MODEL": "churn"}, "[--tenant][corner shop][--model][churn]"),
        ],
    )
    def test_hands_on_what_was_asked_for(self, tmp_path: Path, given: dict[str, str], expected: str) -> None:
        assert retrained(tmp_path, given) == (0, f"[train]{expected}\n[score]{expected}\n")

    def test_a_training_that_failed_fails_the_job_once_everybody_is_scored(self, tmp_path: Path) -> None:
        assert retrained(tmp_path, {"TENANT": "", "MODEL": "", "FAILS": "train"}) == (1, "[train]\n[score]\n")
        assert retrained(tmp_path, {"TENANT": "", "MODEL": "", "FAILS": "score"})[0] == 1


def retrained(folder: Path, given: dict[str, str]) -> tuple[int, str]:
    """The exit code of the last step, and what it called in place of the product, a line a call; the shell is real. The
    command that FAILS names fails."""
    rapport = folder / ".venv" / "bin" / "rapport"
    rapport.parent.mkdir(parents=True, exist_ok=True)
    rapport.write_text(
        '#!/bin/sh\nfor word; do printf \'[%s]\' "$word"; done >>called\necho >>called\n[ "$1" != "$FAILS" ]\n'
    )
    rapport.chmod(0o755)
    (folder / "called").unlink(missing_ok=True)
    script = scripts(workflow("retrain.yml"))[-1]
    done = subprocess.run(["bash", "-e", "-c", script], cwd=folder, env=os.environ | given, check=False)
    return done.returncode, (folder / "called").read_text()
