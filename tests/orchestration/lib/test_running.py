"""Why a run failed, as whoever started it is told."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from orchestration.lib.progress import progress
from orchestration.lib.running import RunFailed, executed
from orchestration.runtime.home import Home


def reason(folder: Path, *, broken_rows: bool) -> str:
    """What a run is refused with whose drift check warns, and whose last step finds the disk full."""

    @dg.asset
    def scores() -> None: ...

    @dg.asset_check(asset=scores)
    def drift() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=False, severity=dg.AssetCheckSeverity.WARN, metadata={"summary": "moved"})

    @dg.asset_check(asset=scores, blocking=True)
    def contract() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=not broken_rows, metadata={"summary": "2 rows"})

    @dg.asset(deps=[scores])
    def segment() -> None:
        raise OSError("the disk is full")

    graph = dg.Definitions(
        assets=[scores, segment],
        asset_checks=[drift, contract],
        jobs=[dg.define_asset_job("all_of_it")],
        loggers={"progress": progress},
    )
    with dg.DagsterInstance.ephemeral() as instance, pytest.raises(RunFailed) as failed:
        executed(Home(folder), instance, graph.resolve_job_def("all_of_it"))
    return str(failed.value)


class TestExecuted:
    def test_a_warning_does_not_pass_for_the_reason(self, tmp_path: Path) -> None:
        assert reason(tmp_path, broken_rows=False) == "segment: OSError: the disk is full"

    def test_a_check_that_blocks_is_the_reason(self, tmp_path: Path) -> None:
        assert reason(tmp_path, broken_rows=True) == "contract of scores failed: 2 rows"
