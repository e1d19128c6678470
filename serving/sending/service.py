"""The send path: start (gate and mark), request, record.

No transaction is open while the network is waited for. What is promised rests on the mark: see ADR 14.
"""

from __future__ import annotations

import datetime as dt
import logging
import random
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import sqlalchemy as sa

from gateway.driver import Abilities, Driver
from serving.kit.database import Database
from serving.sending import statements
from serving.sending.drivers import Drivers
from serving.sending.record import react, record
from serving.sending.results import MAX_ATTEMPTS, Result, read_result
from serving.sending.start import Busy, Number, Started, read_number, start
from serving.settings import Settings

log = logging.getLogger(__name__)

_PACE_SECONDS = 0.2
# A database that restarts is back within these; the answers of a batch are known to this process alone.
_RECORD_AGAIN_SECONDS = (0.1, 0.5, 1.0, 2.0, 4.0, 8.0)


class PaceUsedUp(Exception):
    """The number may send again in a moment."""


class Paces(Protocol):
    def take(self, number_id: uuid.UUID, wanted: int, rate_per_second: int) -> int: ...


@dataclass
class Sender:
    """What a worker process sends with. `clock` and `chance` are given, so that tests decide both."""

    database: Database
    settings: Settings
    drivers: Drivers
    pacer: Paces
    clock: Callable[[], dt.datetime]
    chance: random.Random
    pause: Callable[[float], None] = time.sleep

    def dispatch(self, tenant_id: uuid.UUID, patience_seconds: float = 20.0) -> Counter[str]:
        """Sends what is due for the tenant, batch after batch at the numbers' pace, until nothing is due or the
        patience is used up; how many messages ended in each state. Blocks on the network and on the pace."""
        total: Counter[str] = Counter()
        recover(self, tenant_id)
        for number_id in due_numbers(self.database, tenant_id, self.clock()):
            until = self.clock() + dt.timedelta(seconds=patience_seconds)
            while self.clock() < until:
                try:
                    started = start_batch(self, tenant_id, number_id)
                except (PaceUsedUp, Busy):
                    self.pause(_PACE_SECONDS)
                    continue
                if started is None:
                    break
                total += finish_batch(self, tenant_id, started)
        complete_campaigns(self.database, tenant_id)
        return total

    def driver_of(self, number: Number) -> Driver:
        return self.drivers.of(number.driver, number.provider_number_id)


def due_numbers(database: Database, tenant_id: uuid.UUID, now: dt.datetime) -> list[uuid.UUID]:
    """The numbers that have a message due."""
    with database.tenant(tenant_id) as session:
        return list(session.scalars(sa.text(statements.NUMBERS_DUE), {"now": now}))


def start_batch(sender: Sender, tenant_id: uuid.UUID, number_id: uuid.UUID) -> Started | None:
    """The number's next messages, gated and marked: no more than its driver has connections, so that none waits for
    another. None when none are due. Raises: PaceUsedUp, Busy."""
    with sender.database.tenant(tenant_id) as session:
        number = read_number(session, number_id)
        wanted = min(sender.settings.send_batch_size, sender.driver_of(number).connections)
        granted = sender.pacer.take(number.id, wanted, number.messages_per_second)
        if granted <= 0:
            raise PaceUsedUp
        # Read before any lock: what the gate sees is never older than the moment from which `not_after` counts.
        return start(session, tenant_id, number, granted, sender.clock(), sender.settings)


def finish_batch(sender: Sender, tenant_id: uuid.UUID, started: Started) -> Counter[str]:
    """Sends what was started and records the answers; how many messages ended in each state, those that the gate held
    back included."""
    if not started.messages:
        return started.held_back
    driver = sender.driver_of(started.number)
    answers = driver.send_all([outbound for _, outbound in started.messages])
    finished_at = sender.clock()
    results = {
        item.id: read_result(answer, item.attempt, driver.abilities, finished_at, sender.chance)
        for (item, _), answer in zip(started.messages, answers, strict=True)
    }
    states = _record(sender, tenant_id, started, results, finished_at)
    if any(result.reaction for result in results.values()):
        key = sender.settings.phone_hmac_key.get_secret_value()
        facts = [item for item, _ in started.messages]
        with sender.database.tenant(tenant_id) as session:
            react(session, tenant_id, started.number, facts, results, finished_at, key)
    return states + started.held_back


def recover(sender: Sender, tenant_id: uuid.UUID) -> int:
    """How many marked messages of dead workers were settled: queued again where the provider recognises an id it has
    seen, else unknown until a status names them. A worker that was only stopped still records what it was told."""
    now, settled = sender.clock(), 0
    with sender.database.tenant(tenant_id) as session:
        for number_id in session.scalars(sa.text(statements.NUMBERS_WITH_ENDED_LEASES), {"now": now}).all():
            may_repeat = sender.driver_of(read_number(session, number_id)).abilities is Abilities.DEDUPE
            parameters = {
                "now": now, "number_id": number_id, "may_repeat": may_repeat, "most_attempts": MAX_ATTEMPTS
            }  # fmt: skip
            settled += len(session.execute(sa.text(statements.ENDED_LEASES), parameters).all())
    if settled:
        log.warning("sending.leases_ended", extra={"tenant_id": str(tenant_id), "messages": settled})
    return settled


def complete_campaigns(database: Database, tenant_id: uuid.UUID) -> list[uuid.UUID]:
    """Broadcasts that have nothing left to send, now completed."""
    with database.tenant(tenant_id) as session:
        return list(session.scalars(sa.text(statements.COMPLETE_CAMPAIGNS)))


def _record(
    sender: Sender, tenant_id: uuid.UUID, started: Started, results: Mapping[uuid.UUID, Result],
    finished_at: dt.datetime,
) -> Counter[str]:  # fmt: skip
    def once() -> Counter[str]:
        with sender.database.tenant(tenant_id) as session:
            return record(session, tenant_id, [item for item, _ in started.messages], results, finished_at)

    for seconds in _RECORD_AGAIN_SECONDS:
        try:
            return once()
        except sa.exc.OperationalError as error:  # the database is away, or two of us locked in a ring
            log.warning("sending.record_again", extra={"error": type(error.orig).__name__})
            sender.pause(seconds)
    return once()
