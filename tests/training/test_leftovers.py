"""A training that is killed, at whatever step, leaves the champion speaking and no version that is not whole."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from tests.training.killed_trainings import POINTS
from training import cycle
from training.bundle import bundle_of_version, champion_bundle, champions
from training.datasets import Split, split_by_time
from training.leftovers import none_left
from training.metrics import Interval
from training.promote import Verdict, promote, roll_back
from training.registry import Registry, version_of_alias, versions
from training.synthetic import TENANT_ID, synthetic_dataset

NOW = datetime(2026, 1, 5, tzinfo=UTC)
PROMOTED = "the-champion-is-named"


@pytest.fixture(scope="module")
def killed(tracking_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of tenants' bundles, each killed in its second training."""
    folder = tmp_path_factory.mktemp("killed")
    Registry(tracking_uri, "anybody").client().search_experiments()
    command = [sys.executable, "-m", "tests.training.killed_trainings", tracking_uri, str(folder)]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


@pytest.mark.parametrize("point", POINTS)
class TestAKilledTraining:
    def test_who_speaks_is_whole_and_so_is_every_version_listed(
        self, killed: Path, tracking_uri: str, point: str
    ) -> None:
        registry, bundles = Registry(tracking_uri, point), killed / point
        champion = champion_bundle(bundles, TENANT_ID, "engagement")
        assert champion is not None
        assert champion.version == ("2" if point == PROMOTED else "1")
        for version in versions(registry, "engagement"):
            assert bundle_of_version(bundles, TENANT_ID, "engagement", version.version).card["version"]

    def test_the_next_one_finds_nothing_half_done(self, killed: Path, tracking_uri: str, point: str) -> None:
        registry, bundles = Registry(tracking_uri, point), killed / point
        with none_left(registry, bundles, TENANT_ID, "engagement"):
            pass
        client = registry.client()
        experiment = client.get_experiment_by_name(point).experiment_id
        assert {run.info.status for run in client.search_runs([experiment])} <= {"FINISHED", "KILLED"}
        registered = client.search_model_versions(f"name = '{point}.engagement'")
        assert {str(one.version) for one in registered} == {one.version for one in versions(registry, "engagement")}
        folder = bundles / TENANT_ID / "engagement"
        left = {path.name for path in folder.iterdir()} - {"champion.json", ".publishing.lock"}
        assert left == {one.tags["bundle_digest"] for one in registered}
        speaking = champion_bundle(bundles, TENANT_ID, "engagement")
        assert speaking is not None
        assert version_of_alias(registry, "engagement", "champion") == speaking.version


@pytest.fixture
def split() -> Split:
    return split_by_time(synthetic_dataset("engagement", 300, 6, seed=11, start=NOW)[0])


@pytest.fixture
def gate_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy of the champion would not be promoted."""
    monkeypatch.setattr(cycle, "judge", lambda *_, **__: Verdict(True, "rule", Interval(0.1, 0.05, 0.15), "passed"))


def stopped(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


class TestNoneLeft:
    def test_one_that_is_stopped_cleans_up_at_once(
        self, split: Split, registry: Registry, settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(cycle, "write_bundle", stopped)
        with pytest.raises(KeyboardInterrupt):
            cycle.learn_from(split, registry, settings, seed=1, now=NOW)
        assert registry.client().search_model_versions(f"name = '{registry.model_name('engagement')}'") == []
        assert champion_bundle(settings.bundles_dir, TENANT_ID, "engagement") is None

    @pytest.mark.usefixtures("gate_open")
    def test_a_registry_begun_anew_counts_from_one_again(self, split: Split, registry: Registry, settings) -> None:
        first = cycle.learn_from(split, registry, settings, seed=1, now=NOW)
        anew = Registry(registry.tracking_uri, f"{registry.tenant_slug}-anew")
        second = cycle.learn_from(split, anew, settings, seed=1, now=NOW + timedelta(days=7))
        assert first.registered.version == second.registered.version == "1"
        assert champion_bundle(settings.bundles_dir, TENANT_ID, "engagement").digest == second.digest != first.digest
        roll_back(anew, settings.bundles_dir, TENANT_ID, "engagement", now=NOW)
        assert champion_bundle(settings.bundles_dir, TENANT_ID, "engagement").digest == first.digest

    @pytest.mark.usefixtures("gate_open")
    def test_a_bundle_that_once_spoke_stays_though_a_half_version_has_its_number(
        self, split: Split, registry: Registry, settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first = cycle.learn_from(split, registry, settings, seed=1, now=NOW)
        cycle.learn_from(split, registry, settings, seed=1, now=NOW)
        monkeypatch.setattr(cycle, "write_bundle", stopped)
        anew = Registry(registry.tracking_uri, f"{registry.tenant_slug}-anew")
        with pytest.raises(KeyboardInterrupt):
            cycle.learn_from(split, anew, settings, seed=1, now=NOW)
        assert anew.client().search_model_versions(f"name = '{anew.model_name('engagement')}'") == []
        roll_back(registry, settings.bundles_dir, TENANT_ID, "engagement", now=NOW)
        assert champion_bundle(settings.bundles_dir, TENANT_ID, "engagement").digest == first.digest

    @pytest.mark.parametrize("how", ["promote", "roll_back"])
    def test_nobody_else_says_who_speaks_meanwhile(self, split: Split, registry: Registry, settings, how: str) -> None:
        for _ in range(2):
            cycle.learn_from(split, registry, settings, seed=1, now=NOW)
        where = (registry, settings.bundles_dir, TENANT_ID, "engagement")
        promote(*where, "2", now=NOW)
        asked = partial(promote, *where, "1") if how == "promote" else partial(roll_back, *where)
        with ThreadPoolExecutor(1) as pool:
            with none_left(*where):
                waits = pool.submit(asked, now=NOW)
                with pytest.raises(TimeoutError):
                    waits.result(timeout=0.5)
                assert champions(settings.bundles_dir, TENANT_ID, "engagement")[-1].version == "2"
            assert waits.result(timeout=30).version == "1"
