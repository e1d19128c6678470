"""The tasks. Each is a loop over a plain function that tests and the demo call as well."""

from __future__ import annotations

import datetime as dt
import logging
import uuid

import sqlalchemy as sa

from serving.campaign.start import start_due
from serving.conversation.service import process_inbound
from serving.kit.clock import utc_now
from serving.kit.database import Database
from serving.sending.service import due_numbers
from serving.usage.service import mark_sends, move_counts
from serving.worker.app import MOVE_USAGE, SWEEP, app
from serving.worker.base import worker
from serving.worker.wake import DISPATCH, INBOUND

log = logging.getLogger(__name__)


@app.task(name=INBOUND)
def process(tenant_id: str) -> None:
    """Applies the tenant's inbox until it is empty."""
    held, tenant = worker(), uuid.UUID(tenant_id)
    wait = dt.timedelta(hours=held.settings.status_wait_hours)
    is_last_look = False
    while True:
        if not is_last_look:
            held.wake.keep(INBOUND, tenant)
        batch = process_inbound(held.database, tenant, utc_now(), held.settings.inbound_batch_size, status_wait=wait)
        if batch.is_busy:
            return
        if batch.queued:
            held.wake.dispatch([tenant], utc_now())
        if batch.claimed:
            is_last_look = False
            continue
        if is_last_look:
            return
        # What was committed while the mark stood woke nobody: look once more after taking it down.
        held.wake.release(INBOUND, tenant)
        is_last_look = True


@app.task(name=DISPATCH)
def dispatch(tenant_id: str) -> None:
    """Starts the tenant's campaigns whose time has come, and sends what is due. What its numbers' pace leaves over is
    its next turn's."""
    held, tenant = worker(), uuid.UUID(tenant_id)
    held.wake.keep(DISPATCH, tenant)
    try:
        start_due(held.database, tenant, utc_now(), held.sender.drivers.templates, held.settings)
        sent = held.sender.dispatch(tenant)
    finally:
        held.wake.release(DISPATCH, tenant)
    if due_numbers(held.database, tenant, utc_now()):
        held.wake.dispatch([tenant], utc_now())
    if sent["accepted"]:
        mark_sends(held.redis, tenant, utc_now())
        # Statuses may have overtaken our own record of the send.
        held.wake.inbound([tenant], utc_now())


@app.task(name=SWEEP)
def sweep() -> None:
    """Wakes the work that PostgreSQL knows of, whatever became of earlier wake-ups."""
    held = worker()
    now = utc_now()
    for tenant_id, work in tenants_with_work(held.database, now):
        if work == "outbound":
            held.wake.dispatch([tenant_id], now)
        else:
            held.wake.inbound([tenant_id], now)


@app.task(name=MOVE_USAGE)
def move_usage() -> None:
    """Adds counted API calls to the tenants' usage, and counts what they sent."""
    held = worker()
    move_counts(held.database, held.redis, utc_now())


def tenants_with_work(database: Database, now: dt.datetime) -> list[tuple[uuid.UUID, str]]:
    """(tenant, "outbound" or "inbound") for each tenant with something due."""
    with database.no_tenant() as session:
        rows = session.execute(sa.text("SELECT tenant_id, work FROM tenants_with_work(:now)"), {"now": now})
        return [(row.tenant_id, row.work) for row in rows]
