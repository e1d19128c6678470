"""When the graph runs by itself. All times are UTC; one writer at a time, so that a late run only waits."""

from collections.abc import Iterator

import dagster as dg

from orchestration.defs.automation.jobs import daily, refresh, train
from orchestration.lib.partitions import tenants

RUNNING = dg.DefaultScheduleStatus.RUNNING

hourly_refresh = dg.ScheduleDefinition(
    job=refresh,
    cron_schedule="10 * * * *",
    execution_timezone="UTC",
    default_status=RUNNING,
    description="Ten past every hour: what arrived since, up to the published marts.",
)


@dg.schedule(
    name="daily_features",
    job=daily,
    cron_schedule="40 3 * * *",
    execution_timezone="UTC",
    default_status=RUNNING,
    description="03:40 every day, for each tenant: online features, scores, segment and analysts' snapshot.",
)
def daily_features(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest]:
    yield from _for_each_tenant(context)


@dg.schedule(
    name="weekly_training",
    job=train,
    cron_schedule="20 4 * * 1",
    execution_timezone="UTC",
    default_status=RUNNING,
    description="04:20 on Mondays, for each tenant: training sets, models and scores.",
)
def weekly_training(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest]:
    yield from _for_each_tenant(context)


def _for_each_tenant(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest]:
    due = context.scheduled_execution_time
    for slug in sorted(context.instance.get_dynamic_partitions(tenants.name or "")):
        yield dg.RunRequest(run_key=f"{due:%Y-%m-%dT%H:%M}-{slug}", partition_key=slug, tags={"tenant": slug})


SCHEDULES = [hourly_refresh, daily_features, weekly_training]
