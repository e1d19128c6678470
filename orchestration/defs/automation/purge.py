"""Erased people leave what is kept beside the operational database within minutes, whatever else runs or fails."""

import dagster as dg
from dagster import DefaultSensorStatus

from feature_store.settings import settings
from orchestration.lib.purging import purge
from orchestration.lib.retrying import transient_errors_retried
from orchestration.runtime.home import Home

EVERY_SECONDS = 120


@dg.op(pool="warehouse", description="Removes erased people from the warehouse and from what was made of it.")
def purged_people(context: dg.OpExecutionContext) -> None:
    with transient_errors_retried(context):
        done = purge(Home.from_environment(), context.instance, own_run=context.run_id)
    context.add_output_metadata(
        {"people": done.people, "rows": done.rows, "waits_for": ", ".join(done.waits_for) or "nothing"}
    )


@dg.job(name="purge", description="What is kept of erased people outside the operational database is removed.")
def purge_job() -> None:
    purged_people()


@dg.sensor(
    name="erasures_are_purged",
    job=purge_job,
    minimum_interval_seconds=EVERY_SECONDS,
    default_status=DefaultSensorStatus.RUNNING,
    description="A purge as soon as somebody was erased, one at a time.",
)
def erasures_are_purged(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    from serving.contact.purge import unpurged

    people = sum(len(tenant.contact_ids) for tenant in unpurged(settings().operational_url))
    if not people:
        return dg.SkipReason("nobody is to be purged")
    unfinished = [
        dg.DagsterRunStatus.QUEUED,
        dg.DagsterRunStatus.NOT_STARTED,
        dg.DagsterRunStatus.STARTING,
        dg.DagsterRunStatus.STARTED,
    ]
    if context.instance.get_runs_count(dg.RunsFilter(job_name=purge_job.name, statuses=unfinished)):
        return dg.SkipReason("a purge is under way")
    return dg.RunRequest(tags={"people": str(people)})
