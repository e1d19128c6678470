"""Moves counts from Redis to `usage_records`: a day's API calls and messages sent, by tenant.

A move takes the counts aside under a name in one step, adds each tenant's in a transaction that notes the name, and
drops them when all are added. A move that is killed anywhere is finished by the next: tenants that note the name have
their calls already. So no call is added twice and none that reached Redis is lost, unless Redis loses it.

Messages are not counted but looked up: senders mark the tenant and the day, and a move counts that day's rows anew.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections import defaultdict
from collections.abc import Iterable

import sqlalchemy as sa
from redis import Redis
from sqlalchemy.orm import Session

from serving.kit.database import Database
from serving.usage.counter import CALLS

# Of counts that are being moved: their name is the field _NAME.
MOVING = "usage:moving"
# A set of "{UTC date}:{tenant}" whose messages are to be counted anew.
SENDERS = "usage:senders"
_NAME = "batch"
# Longer than a move can be stopped and go on.
NOTED_FOR = dt.timedelta(days=1)

_TAKE = """
if redis.call('EXISTS', KEYS[2]) == 0 then
    if redis.call('EXISTS', KEYS[1]) == 0 then return {} end
    redis.call('RENAME', KEYS[1], KEYS[2])
    redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
end
return redis.call('HGETALL', KEYS[2])
"""
_DROP = """
if redis.call('HGET', KEYS[1], ARGV[1]) == ARGV[2] then return redis.call('DEL', KEYS[1]) end
return 0
"""
_NOTE = sa.text("""
    INSERT INTO usage_batches (tenant_id, id, created_at) VALUES (:tenant, :batch, :now)
    ON CONFLICT (tenant_id, id) DO NOTHING RETURNING id
""")
_FORGET = sa.text("DELETE FROM usage_batches WHERE created_at < :before")
_ADD = sa.text("""
    INSERT INTO usage_records (tenant_id, date, api_calls) VALUES (:tenant, :date, :calls)
    ON CONFLICT (tenant_id, date) DO UPDATE SET api_calls = usage_records.api_calls + excluded.api_calls
""")
# What went through the outbox and a provider accepted; a message of a replayed history was never sent by us.
_COUNT_SENT = sa.text("""
    INSERT INTO usage_records (tenant_id, date, messages_sent)
    SELECT :tenant, CAST(:date AS date), count(*) FROM messages m
    WHERE m.direction = 'outbound' AND m.timestamp >= :begins AND m.timestamp < :ends
      AND EXISTS (SELECT FROM outbound_messages o WHERE o.id = m.id)
    ON CONFLICT (tenant_id, date) DO UPDATE SET messages_sent = excluded.messages_sent
    WHERE usage_records.messages_sent <> excluded.messages_sent
""")


def move_counts(database: Database, redis: Redis, now: dt.datetime) -> int:
    """How many API calls were added to `usage_records`. `database` is that of role `worker`."""
    added = 0
    taken = redis.eval(_TAKE, 2, CALLS, MOVING, _NAME, str(uuid.uuid4()))
    counts = _pairs(taken)
    batch = counts.pop(_NAME, None)
    if batch is not None:
        for tenant_id, days in _by_tenant(counts).items():
            added += _add(database, tenant_id, uuid.UUID(batch), days, now)
        redis.eval(_DROP, 1, MOVING, _NAME, batch)
    _count_messages(database, redis)
    return added


def mark_sends(redis: Redis, tenant_id: uuid.UUID, now: dt.datetime) -> None:
    """Has the tenant's messages of the UTC day counted at the next move."""
    redis.sadd(SENDERS, f"{now.date()}:{tenant_id}")


def _add(database: Database, tenant_id: uuid.UUID, batch: uuid.UUID, days: dict[dt.date, int], now: dt.datetime) -> int:
    with database.tenant(tenant_id) as session:
        if not _exists(session):
            return 0
        if session.execute(_NOTE, {"tenant": tenant_id, "batch": batch, "now": now}).first() is None:
            return 0
        session.execute(_FORGET, {"before": now - NOTED_FOR})
        for date, calls in sorted(days.items()):
            session.execute(_ADD, {"tenant": tenant_id, "date": date, "calls": calls})
    return sum(days.values())


def _count_messages(database: Database, redis: Redis) -> None:
    for member in _texts(redis.smembers(SENDERS)):
        # Before the count: a mark that is set while it runs stays for the next move.
        redis.srem(SENDERS, member)
        date, tenant_id = _key(member)
        begins = dt.datetime.combine(date, dt.time(), dt.UTC)
        try:
            with database.tenant(tenant_id) as session:
                if _exists(session):
                    values = {"tenant": tenant_id, "date": date, "begins": begins, "ends": begins + dt.timedelta(1)}
                    session.execute(_COUNT_SENT, values)
        except BaseException:
            redis.sadd(SENDERS, member)
            raise


def _exists(session: Session) -> bool:
    """Whether the tenant is still there; its last calls may come after it."""
    return bool(session.scalar(sa.text("SELECT count(*) FROM tenants")))


def _by_tenant(counts: dict[str, str]) -> dict[uuid.UUID, dict[dt.date, int]]:
    grouped: dict[uuid.UUID, dict[dt.date, int]] = defaultdict(dict)
    for member, calls in counts.items():
        date, tenant_id = _key(member)
        grouped[tenant_id][date] = int(calls)
    return grouped


def _key(member: str) -> tuple[dt.date, uuid.UUID]:
    date, _, tenant_id = member.partition(":")
    return dt.date.fromisoformat(date), uuid.UUID(tenant_id)


def _pairs(answer: object) -> dict[str, str]:
    assert isinstance(answer, list)  # noqa: S101 - Redis answers a script's list with one
    texts = list(_texts(answer))
    return dict(zip(texts[::2], texts[1::2], strict=True))


def _texts(values: Iterable[object]) -> Iterable[str]:
    return [value.decode() if isinstance(value, bytes) else str(value) for value in values]
