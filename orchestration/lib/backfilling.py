"""Days of the operational tables read once more from a shell: a run of the job `backfill` each, then one refresh."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence

from orchestration.lib.running import RunReport, end_dead_runs, executed, run_graph
from orchestration.lib.writing import only_writer
from orchestration.runtime.home import Home

REFRESHED = (
    'group:ingest or group:staging or group:intermediate or group:features or group:marts or key:"publish/marts"'
)


class BadDays(Exception):
    """The days asked for cannot be: the last lies before the first, or in the future; or the table is not ingested."""

    code = 2


def days_between(first: dt.date, last: dt.date, today: dt.date) -> list[dt.date]:
    """Every UTC day from the first to the last, both included. Raises BadDays."""
    if last < first:
        raise BadDays(f"{last} lies before {first}")
    if last > today:
        raise BadDays(f"{last} has not come yet")
    return [first + dt.timedelta(days=number) for number in range((last - first).days + 1)]


def backfill_days(
    home: Home,
    days: Sequence[dt.date],
    tables: Sequence[str],
    on_day: Callable[[int, int], None] = lambda done, total: None,
    *,
    wait_seconds: float = 0.0,
    on_wait: Callable[[], None] = lambda: None,
) -> list[RunReport]:
    """A report a day, then that of the refresh. All tables without `tables`; `on_day` hears (days done, days).

    Raises BadDays, RunFailed, RunInProgress.
    """
    import dagster as dg

    from feature_store.ingest import TABLES
    from orchestration.definitions import defs
    from orchestration.defs.automation.backfill import FIRST_DAY

    unknown = set(tables) - set(TABLES)
    if unknown:
        raise BadDays(f"{', '.join(sorted(unknown))}: not ingested; there are: {', '.join(TABLES)}")
    if days[0] < dt.date.fromisoformat(FIRST_DAY):
        raise BadDays(f"{days[0]} lies before {FIRST_DAY}")
    job = defs.resolve_job_def("backfill")
    config = {"ops": {"ingested_day": {"config": {"tables": list(tables)}}}}
    reports = []
    with only_writer(home, wait_seconds, on_wait):
        with dg.DagsterInstance.get() as instance:
            end_dead_runs(instance)
            for number, day in enumerate(days):
                on_day(number, len(days))
                reports.append(executed(home, instance, job, day.isoformat(), run_config=config))
            on_day(len(days), len(days))
        return reports + run_graph(home, REFRESHED)
