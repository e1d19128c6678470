"""From a request to a row of usage: every call once, whatever is killed on the way."""

from __future__ import annotations

import asyncio
import datetime as dt
import uuid

import psycopg
import pytest
import redis
from fastapi.testclient import TestClient
from redis.asyncio import Redis as AsyncRedis

from serving.app import create_app
from serving.kit.database import Database
from serving.usage import service
from serving.usage.counter import CALLS, CallCounter
from serving.usage.service import MOVING, mark_sends, move_counts

NOW = dt.datetime(2026, 3, 10, 23, 59, 59, tzinfo=dt.UTC)


@pytest.fixture
def store(redis_url):
    """Redis with nothing counted in it."""
    with redis.Redis.from_url(redis_url) as client:
        client.delete(CALLS, MOVING, service.SENDERS)
        yield client
        client.delete(CALLS, MOVING, service.SENDERS)


@pytest.fixture
def door(database):
    door = Database(database.worker, pool_size=2)
    yield door
    door.dispose()


@pytest.fixture
def recorded(database):
    def recorded(tenant, column="api_calls"):
        with psycopg.connect(database.admin) as connection:
            rows = connection.execute(
                f"SELECT date::text, {column} FROM usage_records WHERE tenant_id = %s ORDER BY date", (tenant,)
            )
            return dict(rows.fetchall())

    return recorded


def counted(redis_url, *calls, flushes=1):
    """What a process does that counts (tenant, moment, calls)."""

    async def run():
        client = AsyncRedis.from_url(redis_url)
        counter = CallCounter(client)
        for tenant, moment, number in calls:
            for _ in range(number):
                counter.count(tenant, moment)
        for _ in range(flushes):
            await counter.flush()
        await client.aclose()

    asyncio.run(run())


class TestFromRequestToRow:
    def test_every_answered_call_of_a_tenant_is_counted_on_its_utc_day(
        self, settings, store, door, recorded, make_tenant
    ):
        ours, theirs = make_tenant(), make_tenant()
        with TestClient(create_app(settings)) as api:
            for _ in range(5):
                assert api.get("/api/v1/auth/me", headers={"X-API-Key": ours.api_key}).status_code == 200
            assert api.get("/api/v1/contacts/none", headers={"X-API-Key": ours.api_key}).status_code == 422
            assert api.get("/api/v1/auth/me", headers={"X-API-Key": theirs.api_key}).status_code == 200
            assert api.get("/api/v1/auth/me", headers={"X-API-Key": "rk_wrong"}).status_code == 401
        today = str(dt.datetime.now(dt.UTC).date())
        assert move_counts(door, store, NOW) == 7
        assert (recorded(ours.tenant_id), recorded(theirs.tenant_id)) == ({today: 6}, {today: 1})

    def test_a_request_writes_to_neither_store(self, settings, store, make_tenant):
        tenant = make_tenant()
        with TestClient(create_app(settings)) as api:
            api.get("/api/v1/auth/me", headers={"X-API-Key": tenant.api_key})
            assert store.hgetall(CALLS) == {}
        assert store.hlen(CALLS) == 1


class TestFlush:
    def test_days_are_kept_apart(self, redis_url, store, door, recorded, database):
        tenant = database.add_tenant()
        counted(redis_url, (tenant, NOW, 2), (tenant, NOW + dt.timedelta(seconds=1), 3))
        move_counts(door, store, NOW)
        assert recorded(tenant) == {"2026-03-10": 2, "2026-03-11": 3}

    def test_a_batch_whose_answer_was_lost_is_added_once(self, redis_url, store, database):
        tenant = database.add_tenant()

        class LosesAnswers(AsyncRedis):
            lost = 0

            async def eval(self, *arguments):
                answer = await super().eval(*arguments)
                if type(self).lost < 2:
                    type(self).lost += 1
                    raise redis.exceptions.TimeoutError
                return answer

        async def run():
            client = LosesAnswers.from_url(redis_url)
            counter = CallCounter(client)
            counter.count(tenant, NOW)
            for _ in range(2):
                await counter.flush_quietly()
                counter.count(tenant, NOW)
            await counter.flush()
            await counter.flush()
            await client.aclose()

        asyncio.run(run())
        assert LosesAnswers.lost == 2
        assert store.hgetall(CALLS) == {f"2026-03-10:{tenant}".encode(): b"3"}

    def test_without_redis_calls_wait(self, redis_url, store, database):
        tenant = database.add_tenant()

        async def run():
            away, back = AsyncRedis.from_url("redis://127.0.0.1:1/0"), AsyncRedis.from_url(redis_url)
            counter = CallCounter(away)
            counter.count(tenant, NOW)
            await counter.flush_quietly()
            counter._redis = back
            await counter.flush()
            await back.aclose()

        asyncio.run(run())
        assert store.hgetall(CALLS) == {f"2026-03-10:{tenant}".encode(): b"1"}


class Killed(BaseException):
    """What a kill looks like from inside."""


class TestMove:
    @pytest.mark.parametrize("step", range(10))
    def test_one_killed_anywhere_is_finished_by_the_next(
        self, redis_url, store, door, recorded, database, monkeypatch, step
    ):
        tenants = [database.add_tenant() for _ in range(3)]
        counted(redis_url, *((tenant, NOW, number + 1) for number, tenant in enumerate(tenants)))
        steps = iter(range(100))

        def dies_at(function):
            def dying(*arguments, **named):
                if next(steps) == step:
                    raise Killed
                answer = function(*arguments, **named)
                if next(steps) == step:
                    raise Killed
                return answer

            return dying

        with monkeypatch.context() as patch:
            patch.setattr(service, "_add", dies_at(service._add))
            patch.setattr(store, "eval", dies_at(store.eval))
            with pytest.raises(Killed):
                move_counts(door, store, NOW)
        counted(redis_url, (tenants[0], NOW, 10))
        for _ in range(3):
            move_counts(door, store, NOW)
        assert [recorded(tenant) for tenant in tenants] == [
            {"2026-03-10": 11}, {"2026-03-10": 2}, {"2026-03-10": 3},
        ]  # fmt: skip
        assert store.exists(CALLS, MOVING) == 0

    def test_two_at_once_add_once(self, redis_url, store, door, recorded, database):
        from concurrent.futures import ThreadPoolExecutor

        tenant = database.add_tenant()
        for _ in range(10):
            counted(redis_url, (tenant, NOW, 1))
            with ThreadPoolExecutor(2) as pool:
                list(pool.map(lambda _: move_counts(door, store, NOW), range(2)))
        move_counts(door, store, NOW)
        assert recorded(tenant) == {"2026-03-10": 10}

    def test_a_tenant_that_is_gone_stops_nobody(self, redis_url, store, door, recorded, database):
        tenant = database.add_tenant()
        counted(redis_url, (uuid.uuid4(), NOW, 5), (tenant, NOW, 1))
        assert move_counts(door, store, NOW) == 1
        assert recorded(tenant) == {"2026-03-10": 1}

    def test_names_of_batches_are_forgotten_after_a_day(self, redis_url, store, door, database):
        tenant = database.add_tenant()
        for moment in (NOW, NOW + dt.timedelta(days=2)):
            counted(redis_url, (tenant, moment, 1))
            move_counts(door, store, moment)
        with psycopg.connect(database.admin) as connection:
            (noted,) = connection.execute(
                "SELECT count(*) FROM usage_batches WHERE tenant_id = %s", (tenant,)
            ).fetchone()
        assert noted == 1


class TestMessagesSent:
    def test_are_those_a_provider_accepted_on_the_utc_day(self, store, door, recorded, database):
        tenant = database.add_tenant()
        number = database.add_number(tenant, uuid.uuid4().hex)
        with psycopg.connect(database.admin) as connection:
            connection.execute("SELECT set_config('test.tenant', %s, false)", (str(tenant),))
            connection.execute(
                """
                WITH t AS (SELECT current_setting('test.tenant')::uuid AS id),
                person AS (INSERT INTO contacts (tenant_id) SELECT id FROM t RETURNING tenant_id, id),
                talk AS (INSERT INTO conversations (tenant_id, contact_id, started_at, last_message_at)
                         SELECT tenant_id, id, now(), now() FROM person RETURNING tenant_id, id, contact_id),
                said AS (
                    INSERT INTO messages (tenant_id, contact_id, conversation_id, direction, status, timestamp,
                                          provider_id)
                    SELECT tenant_id, contact_id, id, m.direction, 'sent', m.at, m.n FROM talk, (VALUES
                        ('1', 'outbound', '2026-03-10T00:00:00Z'::timestamptz),
                        ('2', 'outbound', '2026-03-10T23:59:59Z'), ('3', 'outbound', '2026-03-11T00:00:00Z'),
                        ('echo', 'outbound', '2026-03-10T12:00:00Z'), ('5', 'inbound', '2026-03-10T12:00:00Z')
                    ) AS m (n, direction, at) RETURNING tenant_id, id, contact_id, provider_id
                )
                INSERT INTO outbound_messages (tenant_id, id, contact_id, phone_number_id, payload, payload_hash,
                                               state, due_at)
                SELECT tenant_id, id, contact_id, %s, '{}', 'h', 'accepted', now() FROM said
                WHERE provider_id <> 'echo'
                """,
                (number,),
            )
        for _ in range(2):
            mark_sends(store, tenant, NOW)
            move_counts(door, store, NOW)
        assert recorded(tenant, "messages_sent") == {"2026-03-10": 2}
