"""What the graph reacts to: tenants that come and go, runs that fail, days that were ingested anew, models that
drift."""

import datetime as dt

import dagster as dg

from orchestration.defs.automation.backfill import backfill
from orchestration.defs.automation.jobs import daily, refresh, train
from orchestration.defs.scoring.checks import DESCRIPTIONS
from orchestration.lib import alerts
from orchestration.lib.partitions import all_tenants, tenants
from orchestration.lib.running import RUNNER

RUNNING = dg.DefaultSensorStatus.RUNNING
# Tags of a run that a failed check started: why, and which champions had failed.
REASON, DRIFTED = "rapport/reason", "rapport/drifted"
PATIENCE_DAYS = 7
UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]


@dg.sensor(
    name="tenants_follow_the_database",
    minimum_interval_seconds=60,
    default_status=RUNNING,
    description="A partition for each tenant there is, and for no other.",
)
def tenant_partitions(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    known = set(context.instance.get_dynamic_partitions(tenants.name or ""))
    there = {tenant.slug for tenant in all_tenants()}
    if known == there:
        return dg.SkipReason(f"{len(known)} tenants, as before")
    changes: list[dg.AddDynamicPartitionsRequest | dg.DeleteDynamicPartitionsRequest] = []
    if there - known:
        changes.append(tenants.build_add_request(sorted(there - known)))
    if known - there:
        changes.append(tenants.build_delete_request(sorted(known - there)))
    return dg.SensorResult(dynamic_partitions_requests=changes)


@dg.run_failure_sensor(
    name="tell_of_failed_runs",
    minimum_interval_seconds=30,
    default_status=RUNNING,
    description="A JSON POST to RAPPORT_ALERT_URL for each run that failed; a line in the log without it.",
)
def tell_of_failed_runs(context: dg.RunFailureSensorContext) -> None:
    run = context.dagster_run
    alerts.send(
        alerts.Alert(
            run_id=run.run_id,
            job=run.job_name,
            tenant=run.tags.get("dagster/partition") if run.job_name != backfill.name else None,
            error=" ".join((context.failure_event.message or "failed").split())[:1000],
            at=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        )
    )


@dg.run_status_sensor(
    name="refresh_after_backfill",
    run_status=dg.DagsterRunStatus.SUCCESS,
    monitored_jobs=[backfill],
    request_job=refresh,
    minimum_interval_seconds=30,
    default_status=RUNNING,
    description="Contracts, dbt and publication once the last of the days asked for is in.",
)
def refresh_after_backfill(context: dg.RunStatusSensorContext) -> dg.RunRequest | dg.SkipReason:
    if RUNNER in context.dagster_run.tags:
        return dg.SkipReason("the command that read the day refreshes too")
    waiting = context.instance.get_runs_count(dg.RunsFilter(job_name=backfill.name, statuses=UNFINISHED))
    if waiting:
        return dg.SkipReason(f"{waiting} days are still to come")
    # One refresh for all days that ended meanwhile: the newest of them names it.
    [newest] = context.instance.get_runs(dg.RunsFilter(job_name=backfill.name), limit=1)
    return dg.RunRequest(run_key=newest.run_id)


@dg.run_status_sensor(
    name="drift_starts_training",
    run_status=dg.DagsterRunStatus.SUCCESS,
    monitored_jobs=[daily],
    request_job=train,
    minimum_interval_seconds=30,
    default_status=RUNNING,
    description="A training of the tenant whose scores failed a check of their champion: once a day at most, and once a"
    " week while the same champions speak on.",
)
def drift_starts_training(context: dg.RunStatusSensorContext) -> dg.RunRequest | dg.SkipReason:
    run = context.dagster_run
    failed = _failed_champions(context.instance, run.run_id)
    if not failed:
        return dg.SkipReason("every champion keeps its promises")
    slug, today = run.tags["dagster/partition"], dt.datetime.now(dt.UTC)
    drifted = {f"{model} {version}" for model, version, _ in failed}
    champions = ", ".join(sorted(drifted))
    # What could not beat a champion yesterday will hardly do so today.
    tried = context.instance.get_runs(
        dg.RunsFilter(
            job_name=train.name, tags={"tenant": slug}, created_after=today - dt.timedelta(days=PATIENCE_DAYS)
        )
    )
    if drifted <= {champion for run in tried for champion in run.tags.get(DRIFTED, "").split(", ")}:
        return dg.SkipReason(f"{champions} of {slug} were challenged within {PATIENCE_DAYS} days already")
    return dg.RunRequest(
        run_key=f"{slug}-{today:%Y-%m-%d}",
        partition_key=slug,
        tags={"tenant": slug, DRIFTED: champions, REASON: "; ".join(words for *_, words in failed)[:1000]},
    )


def _failed_champions(instance: dg.DagsterInstance, run_id: str) -> list[tuple[str, str, str]]:
    """Model, champion's version and what was found, for each check of a champion that failed in the run."""
    found = []
    for record in instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION):
        event = record.dagster_event
        check = event.asset_check_evaluation_data if event else None
        if check is None or check.passed or check.check_name not in DESCRIPTIONS:
            continue
        model = check.asset_key.path[-1]
        told = {name: getattr(check.metadata.get(name), "value", "") for name in ("champion", "summary")}
        found.append((model, str(told["champion"]), f"{check.check_name} of {model}: {told['summary']}"))
    return found


SENSORS = [tenant_partitions, tell_of_failed_runs, refresh_after_backfill, drift_starts_training]
