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


def made(folder: Path, *, share_fails: bool, contract_fails: bool = False) -> bool:
    """Whether a failed run of one tenant has made what all share."""

    @dg.asset
    def shared() -> None:
        if share_fails:
            raise OSError("the disk is full")

    @dg.asset_check(asset=shared, blocking=True)
    def contract() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=not contract_fails)

    @dg.asset(deps=[shared])
    def own() -> None:
        raise ValueError("this tenant's alone")

    graph = dg.Definitions(
        assets=[shared, own],
        asset_checks=[contract],
        jobs=[dg.define_asset_job("loop")],
        loggers={"progress": progress},
    )
    with dg.DagsterInstance.ephemeral() as instance, pytest.raises(RunFailed) as failed:
        executed(Home(folder), instance, graph.resolve_job_def("loop"))
    assert failed.value.report is not None
    return failed.value.report.made([shared.key])


class TestMade:
    """The runs of other tenants go on after one that failed, if what all share is there."""

    def test_a_tenants_own_failure_leaves_what_all_share(self, tmp_path: Path) -> None:
        assert made(tmp_path, share_fails=False)

    def test_what_failed_or_was_blocked_is_not_made(self, tmp_path: Path) -> None:
        assert not made(tmp_path, share_fails=True)
        assert not made(tmp_path, share_fails=False, contract_fails=True)


class TestExecuted:
    def test_a_warning_does_not_pass_for_the_reason(self, tmp_path: Path) -> None:
        assert reason(tmp_path, broken_rows=False) == "segment: OSError: the disk is full"

    def test_a_check_that_blocks_is_the_reason(self, tmp_path: Path) -> None:
        assert reason(tmp_path, broken_rows=True) == "contract of scores failed: 2 rows"
