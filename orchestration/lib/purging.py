"""What is kept of an erased person outside the operational database goes at once: no build, training or publication is
waited for, so that none that fails keeps anybody.

Nothing here is a list of people to search for; the operational database no longer knows who they were. Their rows are
known by their ids (ADR 11), and what has no ids is removed whole.
"""

from __future__ import annotations

import datetime as dt
import logging
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from feature_store.ingest import ingest
from feature_store.ingest_raw import open_raw
from feature_store.set_aside import forget_deleted
from feature_store.settings import settings
from feature_store.warehouse import DuckDBWarehouse, Warehouse, warehouse_at
from orchestration.lib.rebuilding import remove_unfinished
from orchestration.lib.running import end_dead_runs
from orchestration.lib.writing import PATIENCE_SECONDS, only_writer
from orchestration.runtime.home import Home

log = logging.getLogger(__name__)

if TYPE_CHECKING:
    import dagster as dg

    from serving.contact.purge import Unpurged


@dataclass(frozen=True)
class Purge:
    """`people` were erased, `rows` is what was removed of them. `waits_for` are the runs that were under way and may
    have read them before: when there are any the people stay unpurged, and the next purge does it again."""

    people: int = 0
    rows: int = 0
    waits_for: tuple[str, ...] = ()


def purge(
    home: Home,
    instance: dg.DagsterInstance,
    *,
    own_run: str | None = None,
    wait_seconds: float = PATIENCE_SECONDS,
    on_wait: Callable[[], None] = lambda: None,
) -> Purge:
    """Purges everybody who is still to be. Raises RunInProgress when another run writes the warehouse for longer."""
    from serving.contact.purge import mark_purged, tidy, unpurged

    configured, worker_url = settings(), os.environ["SERVING_WORKER_DATABASE_URL"]
    if not unpurged(configured.operational_url):
        return Purge()
    with only_writer(home, wait_seconds, on_wait):
        end_dead_runs(instance)
        others = _under_way(instance, own_run)
        waiting = unpurged(configured.operational_url)
        warehouse = warehouse_at(configured.warehouse)
        rows = _forget_in_warehouse(warehouse, waiting)
        for tenant in waiting:
            rows += _forget_beside(home, tenant)
    tidy(worker_url)
    _rewrite_redis_log(configured.redis_url)
    if not others:
        for tenant in waiting:
            mark_purged(worker_url, tenant.tenant_id, tenant.contact_ids, dt.datetime.now(dt.UTC))
    return Purge(sum(len(tenant.contact_ids) for tenant in waiting), rows, others)


def _forget_in_warehouse(warehouse: Warehouse, waiting: Sequence[Unpurged]) -> int:
    from feature_store.forgetting import forget_rows, forgotten_ids, rewrite

    if _is_empty(warehouse):
        return 0
    ingested = ingest(settings().operational_url, warehouse, now=dt.datetime.now(dt.UTC))
    with open_raw(warehouse) as raw:
        forget_deleted(raw)
    if isinstance(warehouse, DuckDBWarehouse):
        remove_unfinished(warehouse)
        rewrite(warehouse.raw_path)
    contacts = [str(contact) for tenant in waiting for contact in tenant.contact_ids]
    return sum(table.deleted for table in ingested) + forget_rows(warehouse, forgotten_ids(warehouse, contacts))


def _forget_beside(home: Home, tenant: Unpurged) -> int:
    """What was made of the warehouse or on the way into it: the rows published, the analysts' file, the training sets;
    and the rejected rows of imports, which nobody can tell whose they are."""
    from feature_store.forgetting import forget_in_file, forgotten_ids
    from serving.publication.forgetting import forget_contacts
    from training.forgetting import forget_in_datasets

    contacts = [str(contact) for contact in tenant.contact_ids]
    warehouse = warehouse_at(settings().warehouse)
    ids = [] if _is_empty(warehouse) else forgotten_ids(warehouse, contacts)
    rows = forget_contacts(os.environ["PUBLICATION_DATABASE_URL"], tenant.tenant_id, tenant.contact_ids)
    rows += forget_in_file(home.snapshots / f"{tenant.slug}.duckdb", ids)
    rows += forget_in_datasets(home.path / "training" / tenant.slug, contacts)
    shutil.rmtree(home.rejects / tenant.slug, ignore_errors=True)
    return rows


def _is_empty(warehouse: Warehouse) -> bool:
    """Whether nothing was ever ingested."""
    return isinstance(warehouse, DuckDBWarehouse) and not warehouse.raw_path.exists()


def _rewrite_redis_log(redis_url: str) -> None:
    from redis.exceptions import ResponseError

    from feature_store.forgetting import rewrite_log

    try:
        rewrite_log(redis_url)
    except ResponseError:
        log.warning("purge.redis_log_left", extra={"reason": "Redis does not let us ask for it"})


def _under_way(instance: dg.DagsterInstance, own_run: str | None) -> tuple[str, ...]:
    import dagster as dg

    started = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED])
    return tuple(sorted(run.run_id for run in instance.get_runs(started) if run.run_id != own_run))
