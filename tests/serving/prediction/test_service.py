from __future__ import annotations

import datetime as dt
import json
import uuid

import psycopg
import pyarrow as pa
import pytest
import redis

from serving.contact.erasure import forget_online
from serving.kit.database import Database
from serving.prediction import service
from serving.prediction.service import InvalidScores, publish_scores, scores_key

NOW = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)


@pytest.fixture(scope="module")
def door(database):
    door = Database(database.worker)
    yield door
    door.dispose()


@pytest.fixture
def tenant(database):
    return database.add_tenant()


@pytest.fixture
def contacts(database, tenant):
    return add_contacts(database, tenant, 3)


def add_contacts(database, tenant, count):
    with psycopg.connect(database.admin) as connection:
        rows = connection.execute(
            "INSERT INTO contacts (tenant_id) SELECT %s FROM generate_series(1, %s) RETURNING id", (tenant, count)
        ).fetchall()
    return [row[0] for row in rows]


def table(contacts, scores, **columns):
    count = len(contacts)
    return pa.table(
        {
            "contact_id": [str(contact) for contact in contacts],
            "model": ["lead_scoring"] * count,
            "model_version": ["3"] * count,
            "score": [float(score) for score in scores],
            "probability": [score / 100 for score in scores],
            "tier": ["warm"] * count,
            "reasons": [json.dumps({"drivers": ['a "quoted", one\n']})] * count,
            "feature_snapshot_id": ["20260301T000000.000000Z"] * count,
            "scored_at": pa.array([NOW] * count, pa.timestamp("us", "UTC")),
        }
        | columns
    )


def stored(database, tenant, model="lead_scoring"):
    with psycopg.connect(database.admin) as connection:
        rows = connection.execute(
            "SELECT contact_id, score, reasons, scored_at FROM scores WHERE tenant_id = %s AND model = %s",
            (tenant, model),
        ).fetchall()
    return {row[0]: row[1:] for row in rows}


class TestPublishScores:
    def test_replaces_the_models_scores(self, door, database, tenant, contacts, redis_url):
        first = table(contacts, [10, 20, 30])
        assert publish_scores(door, tenant, first, "lead_scoring", NOW, redis_url=redis_url) == 3
        reasons = {"drivers": ['a "quoted", one\n']}
        assert stored(database, tenant)[contacts[1]] == (20.0, reasons, NOW)
        second = table(contacts[1:], [99, 5])
        assert publish_scores(door, tenant, second, "lead_scoring", NOW, redis_url=redis_url) == 2
        assert {contact: row[0] for contact, row in stored(database, tenant).items()} == {
            contacts[1]: 99.0, contacts[2]: 5.0,
        }  # fmt: skip
        with redis.Redis.from_url(redis_url, decode_responses=True) as client:
            ranked = client.zrevrange(scores_key(tenant, "lead_scoring"), 0, -1, withscores=True)
        assert [(uuid.UUID(contact), score) for contact, score in ranked] == [(contacts[1], 99.0), (contacts[2], 5.0)]

    def test_a_score_that_stays_the_same_is_not_written_again(self, door, database, tenant, contacts, redis_url):
        changed = "SELECT contact_id FROM scores WHERE tenant_id = %s AND changed_xid >= %s::xid8"
        publish_scores(door, tenant, table(contacts, [10, 20, 30]), "lead_scoring", NOW, redis_url=redis_url)
        with psycopg.connect(database.admin) as connection:
            before = connection.execute("SELECT pg_current_xact_id()::text").fetchone()[0]

        publish_scores(door, tenant, table(contacts, [10, 21, 30]), "lead_scoring", NOW, redis_url=redis_url)

        with psycopg.connect(database.admin) as connection:
            assert connection.execute(changed, (tenant, before)).fetchall() == [(contacts[1],)]

    def test_leaves_other_models_and_other_tenants_alone(self, door, database, tenant, contacts, redis_url):
        other = database.add_tenant()
        others = add_contacts(database, other, 2)
        publish_scores(door, other, table(others, [1, 2]), "lead_scoring", NOW, redis_url=redis_url)
        churn = table(contacts, [1, 2, 3], model=["churn"] * 3)
        publish_scores(door, tenant, churn, "churn", NOW, redis_url=redis_url)
        # Another tenant's contacts in the table are not this tenant's, and get no score.
        assert publish_scores(door, tenant, table(others, [50, 60]), "lead_scoring", NOW, redis_url=redis_url) == 0
        assert len(stored(database, tenant, "churn")) == 3
        assert {row[0] for row in stored(database, other).values()} == {1.0, 2.0}

    def test_an_invalid_score_changes_nothing(self, door, database, tenant, contacts, redis_url):
        publish_scores(door, tenant, table(contacts, [10, 20, 30]), "lead_scoring", NOW, redis_url=redis_url)
        before = stored(database, tenant)
        bad = table(contacts, [40, 50, 60], probability=[0.1, 0.2, 1.5])
        with pytest.raises(Exception, match="probability"):
            publish_scores(door, tenant, bad, "lead_scoring", NOW, redis_url=redis_url)
        assert stored(database, tenant) == before

    def test_another_models_rows_and_missing_columns_are_refused(self, door, tenant, contacts):
        with pytest.raises(InvalidScores, match="churn"):
            publish_scores(door, tenant, table(contacts, [1, 2, 3]), "churn", NOW)
        with pytest.raises(InvalidScores, match="tier"):
            publish_scores(door, tenant, table(contacts, [1, 2, 3]).drop_columns("tier"), "lead_scoring", NOW)

    def test_an_empty_table_empties_the_scores(self, door, database, tenant, contacts, redis_url):
        publish_scores(door, tenant, table(contacts, [10, 20, 30]), "lead_scoring", NOW, redis_url=redis_url)
        assert publish_scores(door, tenant, table([], []), "lead_scoring", NOW, redis_url=redis_url) == 0
        assert stored(database, tenant) == {}

    def test_who_is_erased_meanwhile_does_not_come_back(self, door, database, tenant, contacts, redis_url, monkeypatch):
        """The erasure falls between the commit of the scores and their way to Redis."""
        refresh = service._refresh_redis

        def erased_first(*given):
            forget_online(redis_url, tenant, contacts[0], ["lead_scoring"])
            with psycopg.connect(database.admin) as connection:
                connection.execute("DELETE FROM contacts WHERE id = %s", (contacts[0],))
            refresh(*given)

        monkeypatch.setattr(service, "_refresh_redis", erased_first)
        publish_scores(door, tenant, table(contacts, [10, 20, 30]), "lead_scoring", NOW, redis_url=redis_url)
        with redis.Redis.from_url(redis_url, decode_responses=True) as client:
            ranked = client.zrange(scores_key(tenant, "lead_scoring"), 0, -1)
        assert ranked == [str(contacts[1]), str(contacts[2])]
