"""A tenant's models from a shell: listed, promoted, taken back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from orchestration.runtime.home import Home

RAPPORT = "import sys; from orchestration.cli.main import main; main()"
START = datetime(2026, 1, 5, tzinfo=UTC)


@pytest.fixture(scope="module")
def rapport(home: Home, database):
    """`rapport` on this module's database, for a tenant that has learnt lead scoring twice."""
    from training.cycle import learn_from
    from training.datasets import split_by_time
    from training.registry import Registry
    from training.settings import TrainingSettings
    from training.synthetic import TENANT_ID, synthetic_dataset

    database.add_tenant("corner-shop", id=TENANT_ID)
    split = split_by_time(synthetic_dataset("lead_scoring", 600, 6, seed=11, start=START)[0])
    configured = TrainingSettings(tracking_uri=home.mlflow_uri, bundles_dir=home.bundles)
    for _ in range(2):
        learn_from(split, Registry(home.mlflow_uri, "corner-shop"), configured, seed=1, now=START)

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        own = {"RAPPORT_HOME": str(home.path), "RAPPORT_ENV_FILE": os.devnull, "DATABASE_URL": database.admin}
        own |= {"COLUMNS": "200"}
        command = [sys.executable, "-c", RAPPORT, *words, "--tenant", "corner-shop"]
        return subprocess.run(command, cwd="/", env=os.environ | own, capture_output=True, text=True, timeout=120)

    return run


def aliases(rapport) -> dict[str, list[str]]:
    listed = rapport("models", "--json")
    assert listed.returncode == 0, listed.stderr
    return {version["version"]: version["aliases"] for version in json.loads(listed.stdout)}


class TestModels:
    def test_lists_who_speaks_and_why(self, rapport) -> None:
        listed = rapport("models")
        assert listed.returncode == 0, listed.stderr
        assert "lead_scoring" in listed.stdout
        assert "champion" in listed.stdout
        # A copy of the champion is no better than it.
        assert aliases(rapport) == {"1": ["champion"], "2": ["challenger"]}

    def test_promotes_a_version_and_takes_it_back(self, rapport) -> None:
        promoted = rapport("promote", "lead_scoring", "2")
        assert (promoted.returncode, promoted.stdout) == (0, "corner-shop.lead_scoring: version 2 speaks now.\n")
        assert "champion" in aliases(rapport)["2"]
        back = rapport("rollback", "lead_scoring")
        assert (back.returncode, back.stdout) == (0, "corner-shop.lead_scoring: version 1 speaks again.\n")
        assert aliases(rapport)["1"] == ["champion"]

    @pytest.mark.parametrize(
        ("words", "reason"),
        [
            (("promote", "lead_scoring", "9"), "no bundle of version 9"),
            (("promote", "uplift", "1"), "no model is called 'uplift'"),
            (("rollback", "churn"), "churn has no champion"),
            (("train", "--model", "uplift"), "no model is called 'uplift'"),
        ],
    )
    def test_says_what_there_is_not(self, rapport, words: tuple[str, ...], reason: str) -> None:
        refused = rapport(*words)
        assert refused.returncode == 2
        assert reason in refused.stderr
