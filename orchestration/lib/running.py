"""Runs the graph in this process, against the installation's Dagster instance."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestration.lib.importing import TO_JUDGE, import_ahead
from orchestration.lib.writing import only_writer
from orchestration.runtime.environment import make_folders, process_environment
from orchestration.runtime.home import Home

if TYPE_CHECKING:
    import dagster as dg

RUNNER = "rapport/runner"
TOLD_BY_DBT = "Errors parsed from dbt logs:"
SHOWN_DBT_LINES = 4


class RunFailed(Exception):
    """A step or a blocking check failed; what depends on it was left as it was. `report` is that of one run, None where
    several failed."""

    def __init__(self, why: str, report: RunReport | None = None) -> None:
        super().__init__(why)
        self.report = report


class NothingSelected(Exception):
    """The selection is none, or names no asset."""

    code = 2


@dataclass
class Step:
    """One step of a run. `rows` by asset, where the asset tells; seconds of wall time."""

    name: str
    seconds: float
    rows: int | None = None
    failed: bool = False


@dataclass
class RunReport:
    """`tenant` is the slug of the business the run was for, None when it was for all. `blocking_checks` are those of
    `failed_checks` that are more than a warning."""

    run_id: str
    succeeded: bool
    steps: list[Step] = field(default_factory=list)
    failed_checks: list[str] = field(default_factory=list)
    blocking_checks: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    metadata: dict[str, dict[str, object]] = field(default_factory=dict)
    tenant: str | None = None

    def made(self, keys: Iterable[dg.AssetKey]) -> bool:
        """Whether it made all of these and no check of its blocked any."""
        return not self.blocking_checks and {"/".join(key.path) for key in keys} <= self.metadata.keys()


def prepare(home: Home) -> None:
    """This process is configured as the product's processes are, and Dagster's home exists."""
    os.environ.update(process_environment(home))
    make_folders(home)


def run_graph(
    home: Home,
    select: str | None = None,
    tenants: list[str] | None = None,
    *,
    wait_seconds: float = 0.0,
    on_wait: Callable[[], None] = lambda: None,
) -> list[RunReport]:
    """One run a tenant; what is shared by all tenants runs once, with the first.

    `select` is a Dagster asset selection (e.g. `group:marts`, `key:"raw/messages"+`); all assets without it. While
    another run writes the warehouse this one waits, `wait_seconds` at most, having called `on_wait` once. A tenant
    whose run failed keeps no other from its own, unless what all share was not made. Raises RunFailed at the end if any
    failed, RunInProgress, NothingSelected, UnknownTenant.
    """
    import dagster as dg

    if select is None:
        import_ahead(TO_JUDGE)
    from orchestration.definitions import defs
    from orchestration.lib.partitions import UnknownTenant, all_tenants

    known = [tenant.slug for tenant in all_tenants()]
    unknown = set(tenants or []) - set(known)
    if unknown:
        raise UnknownTenant(
            f"no tenant is called {', '.join(sorted(unknown))}; there are: {', '.join(known) or 'none'}"
        )
    graph = defs.resolve_asset_graph()
    try:
        selection = dg.AssetSelection.from_string(select) if select else dg.AssetSelection.all()
        keys = selection.resolve(graph)
    except dg.DagsterError as error:
        raise NothingSelected(str(error)) from error
    if not keys:
        raise NothingSelected(f"no asset matches {select!r}")
    partitioned = {key for key in keys if graph.get(key).partitions_def is not None}
    reports: list[RunReport] = []
    failures: list[str] = []
    with only_writer(home, wait_seconds, on_wait), dg.DagsterInstance.get() as instance:
        end_dead_runs(instance)
        instance.add_dynamic_partitions("tenant", known)
        slugs: list[str | None] = [*(tenants or known)] if partitioned else [None]
        for number, slug in enumerate(slugs or [None]):
            wanted = keys if number == 0 else partitioned
            wanted = wanted if slug is not None else wanted - partitioned
            if not wanted:
                continue
            job = defs.resolve_job_def("loop" if slug is not None else "refresh")
            try:
                report = executed(home, instance, job, slug, sorted(wanted), {"tenant": slug} if slug else {})
            except RunFailed as error:
                failures.append(f"{slug}: {error}" if slug else str(error))
                shared = wanted - partitioned
                if shared and (error.report is None or not error.report.made(shared)):
                    break
                continue
            reports.append(replace(report, tenant=slug))
    if failures:
        raise RunFailed("; ".join(failures))
    return reports


def executed(
    home: Home,
    instance: dg.DagsterInstance,
    job: dg.JobDefinition,
    partition: str | None = None,
    assets: list[dg.AssetKey] | None = None,
    tags: dict[str, str] | None = None,
    run_config: dict[str, Any] | None = None,
) -> RunReport:
    """The report of a run of the job in this process, which holds the warehouse. Raises RunFailed."""
    with told_to(home.logs / "run.log"):
        result = job.execute_in_process(
            instance=instance,
            partition_key=partition,
            asset_selection=assets,
            run_config={"loggers": {"progress": {"config": {}}}} | (run_config or {}),
            tags={RUNNER: f"{socket.gethostname()}:{os.getpid()}"} | (tags or {}),
            raise_on_error=False,
        )
    report = _report(instance, result.run_id, result.success)
    if not report.succeeded:
        raise RunFailed("; ".join(report.blocking_checks or report.errors) or "the run failed", report)
    return report


@contextlib.contextmanager
def told_to(log: Path) -> Iterator[None]:
    """What dbt prints meanwhile goes to a log file; standard error is left to whoever shows progress."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as out, contextlib.redirect_stdout(out):
        yield


def end_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """The ids of runs whose process is gone without having said so; they are recorded as failed."""
    import dagster as dg
    import psutil

    ended = []
    started = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING])
    for run in instance.get_runs(started):
        host, _, pid = run.tags.get(RUNNER, "").partition(":")
        if host == socket.gethostname() and pid.isdigit() and not psutil.pid_exists(int(pid)):
            instance.report_run_failed(run, "the process that ran it ended")
            ended.append(run.run_id)
    return ended


def _report(instance: dg.DagsterInstance, run_id: str, succeeded: bool) -> RunReport:
    """The run as its event log tells it."""
    report = RunReport(run_id, succeeded)
    started: dict[str, float] = {}
    rows: dict[str, int] = {}
    for record in instance.all_logs(run_id):
        event = record.dagster_event
        if event is None:
            continue
        step, kind = event.step_key or "", event.event_type_value
        if kind == "STEP_START":
            started[step] = record.timestamp
        elif kind in ("STEP_SUCCESS", "STEP_FAILURE"):
            seconds = round(record.timestamp - started.get(step, record.timestamp), 2)
            report.steps.append(Step(step, seconds, rows.get(step), kind == "STEP_FAILURE"))
            if kind == "STEP_FAILURE":
                report.errors.append(f"{step}: {_reason(event.step_failure_data.error)}")
        elif kind == "ASSET_MATERIALIZATION":
            materialization = event.step_materialization_data.materialization
            values: dict[str, object] = {
                name: value.value for name, value in materialization.metadata.items() if hasattr(value, "value")
            }
            report.metadata["/".join(materialization.asset_key.path)] = values
            count = values.get("rows_ingested", values.get("rows", values.get("dagster/row_count")))
            if isinstance(count, int):
                rows[step] = rows.get(step, 0) + count
        elif kind == "ASSET_CHECK_EVALUATION":
            check = event.asset_check_evaluation_data
            rows[step] = rows.get(step, 0) + int(getattr(check.metadata.get("rows_judged"), "value", 0) or 0)
            if not check.passed:
                why = str(getattr(check.metadata.get("summary"), "value", "")) or "see its metadata in Dagster"
                told = f"{check.check_name} of {'/'.join(check.asset_key.path)} failed: {why}"
                report.failed_checks.append(told)
                if check.severity.value == "ERROR":
                    report.blocking_checks.append(told)
    return report


def _reason(error: Any) -> str:
    """The cause of a step's failure in a line; of dbt's, what dbt said of its models and tests."""
    while getattr(error, "cause", None) is not None:
        error = error.cause
    said, is_dbt, told = str(getattr(error, "message", error)).partition(TOLD_BY_DBT)
    lines = [line.strip() for line in (told if is_dbt else said).splitlines() if line.strip()]
    if is_dbt:
        # Its progress lines start with "55 of 94".
        return " ".join([line for line in lines if not line[0].isdigit()][:SHOWN_DBT_LINES])
    return lines[0] if lines else "failed"
