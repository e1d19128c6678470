"""The inbox's writer: many requests, one transaction. Whoever waits on `store` is answered after the commit."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import logging
import queue
import threading
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from fastapi import FastAPI

from serving.errors import Unavailable
from serving.kit import keyed_digest
from serving.kit.clock import utc_now
from serving.kit.database import Database
from serving.webhook.receiver import InboxRow
from serving.worker.wake import Wake

log = logging.getLogger(__name__)

GROUP_ROWS = 10_000
QUEUE_ROWS = 100_000

_STAGING = sa.text("""
    CREATE TEMP TABLE IF NOT EXISTS inbox_staging (
        position integer, event_key text, kind text, provider_number_id text, occurred_at timestamptz, payload jsonb
    ) ON COMMIT DELETE ROWS
""")
_COPY = "COPY inbox_staging (position, event_key, kind, provider_number_id, occurred_at, payload) FROM STDIN"
# Sorted by key, so that two writers with the same events wait for each other instead of deadlocking.
# An event's key is its message's id, or that and a word of what happened to it.
_STORE = sa.text(
    """
    INSERT INTO inbound_events (tenant_id, event_key, kind, provider_number_id, occurred_at, received_at, payload)
    SELECT :tenant_id, event_key, kind, provider_number_id, occurred_at,
           CAST(:received_at AS timestamptz) + position * interval '1 microsecond', payload
    FROM (SELECT DISTINCT ON (event_key) * FROM inbox_staging ORDER BY event_key, position) AS fresh
    WHERE NOT EXISTS (SELECT FROM erased_events AS erased WHERE erased.key_digest IN ({event}, {message}))
    ON CONFLICT (tenant_id, event_key) DO NOTHING
""".format(
        event=keyed_digest.of("fresh.event_key"),
        message=keyed_digest.of("regexp_replace(fresh.event_key, ':[^:]*$', '')"),
    )
)


@dataclass(slots=True)
class _Submission:
    rows: Mapping[uuid.UUID, Sequence[InboxRow]]
    received_at: dt.datetime
    stored: Future[int] = field(default_factory=Future)

    @property
    def size(self) -> int:
        return sum(map(len, self.rows.values()))


class InboxWriter:
    """One thread that writes what many requests submit. While a transaction commits, the next group gathers; a lone
    request waits for nobody."""

    def __init__(self, database: Database, on_stored: Callable[[set[uuid.UUID]], None], digest_key: str) -> None:
        self._database = database
        self._digest = keyed_digest.parameters(digest_key)
        self._on_stored = on_stored
        self._submissions: queue.SimpleQueue[_Submission | None] = queue.SimpleQueue()
        self._waiting_rows = 0
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="inbox-writer", daemon=True)
        self.transactions = 0

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Writes what was submitted, then ends."""
        self._submissions.put(None)
        self._thread.join(timeout=30)

    async def store(self, rows: Mapping[uuid.UUID, Sequence[InboxRow]], received_at: dt.datetime) -> int:
        """How many of the rows were new, once they are durable. Raises: Unavailable when the inbox is too far
        behind."""
        submission = _Submission(rows, received_at)
        with self._lock:
            if self._waiting_rows > QUEUE_ROWS:
                raise Unavailable("the inbox is behind; deliver again")
            self._waiting_rows += submission.size
        self._submissions.put(submission)
        return await asyncio.wrap_future(submission.stored)

    def _run(self) -> None:
        ended = False
        while not ended:
            group, ended = self._next_group()
            if group:
                self._write_group(group)
                with self._lock:
                    self._waiting_rows -= sum(submission.size for submission in group)

    def _next_group(self) -> tuple[list[_Submission], bool]:
        first = self._submissions.get()
        if first is None:
            return [], True
        group, size = [first], first.size
        while size < GROUP_ROWS:
            try:
                following = self._submissions.get_nowait()
            except queue.Empty:
                break
            if following is None:
                return group, True
            group.append(following)
            size += following.size
        return group, False

    def _write_group(self, group: list[_Submission]) -> None:
        try:
            stored = self._write(group)
        except Exception as error:
            if len(group) == 1:
                log.exception("webhook.store_failed")
                group[0].stored.set_exception(Unavailable("the events could not be stored; deliver again"))
                group[0].stored.exception()
                return
            # One body that cannot be stored must not cost the others: each is tried alone.
            log.warning("webhook.group_split", extra={"submissions": len(group), "error": type(error).__name__})
            for submission in group:
                self._write_group([submission])
            return
        for index, submission in enumerate(group):
            # The count is the group's: told to its first member, so that sums over requests are right.
            submission.stored.set_result(stored if index == 0 else 0)
        self._on_stored({tenant_id for submission in group for tenant_id in submission.rows})

    def _write(self, group: Sequence[_Submission]) -> int:
        merged: dict[uuid.UUID, list[InboxRow]] = defaultdict(list)
        for submission in group:
            for tenant_id, rows in submission.rows.items():
                merged[tenant_id].extend(rows)
        received_at = min(submission.received_at for submission in group)
        stored = 0
        with self._database.no_tenant() as session:
            connection = session.connection()
            connection.execute(_STAGING)
            raw: Any = connection.connection.driver_connection
            for tenant_id in sorted(merged):
                # Several tenants share one commit; each group of rows is written under its own tenant's rights.
                connection.execute(sa.text("SELECT set_config('app.tenant_id', :id, true)"), {"id": str(tenant_id)})
                with raw.cursor() as cursor, cursor.copy(_COPY) as copy:
                    for position, row in enumerate(merged[tenant_id]):
                        copy.write_row((position, *row))
                result = connection.execute(_STORE, {"tenant_id": tenant_id, "received_at": received_at} | self._digest)
                stored += result.rowcount
                connection.execute(sa.text("TRUNCATE inbox_staging"))
        self.transactions += 1
        return stored


@contextlib.asynccontextmanager
async def webhook_writer(app: FastAPI) -> AsyncIterator[InboxWriter]:
    """The writer of one API process, at `app.state.inbox_writer`, and its `app.state.wake`. Needs
    `app.state.settings` and `.database`."""
    wake = Wake(app.state.settings.redis_url)
    key = app.state.settings.phone_hmac_key.get_secret_value()
    writer = InboxWriter(app.state.database, lambda tenants: wake.inbound(tenants, utc_now()), key)
    writer.start()
    app.state.inbox_writer = writer
    app.state.wake = wake
    try:
        yield writer
    finally:
        await asyncio.to_thread(writer.stop)
        wake.close()
