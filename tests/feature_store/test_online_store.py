"""The online store as it is written, read across schemas, and emptied; from either backend."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import redis
import redis.asyncio
from polars.testing import assert_frame_equal

from feature_store.as_of import as_of_everybody
from feature_store.feature_services import FEATURE_SERVICES
from feature_store.feature_views import FEATURE_VIEWS, MOMENTS, NUMBERS
from feature_store.materialization import EVERYTHING, materialize
from feature_store.on_demand import MISSING_MOMENT
from feature_store.online import (
    OnlineFeatures,
    contact_key,
    forget,
    get_online_features,
    get_online_features_async,
    members_key,
    pack,
    schemas_key,
    timezone_key,
)
from feature_store.online_writer import OnlineWriter
from feature_store.packing import CURRENT, Layout
from feature_store.retrieval import get_historical_features
from feature_store.sessions import open_session
from feature_store.transforms import encode, encode_online, fit_inputs
from feature_store.warehouse import DuckDBWarehouse, PostgresWarehouse
from tests.feature_store.stores import Store, empty_store, scratch_database

NOW = dt.datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
SERVICE = FEATURE_SERVICES["churn_v1"]
PEOPLE = 10_000
# Every feature is missing for some contacts and known of others; rows are late, expired or of the future for some.
VALUES = {
    "float32": "CASE WHEN (n + {i}) % 7 > 0 THEN (n * 37 + {i} * 11) % 1000 / CAST(7 AS double precision) END",
    "timestamp": "CASE WHEN (n + {i}) % 7 > 0 THEN {now} - n % 300 * INTERVAL '1 day' - n * INTERVAL '7 ms' END",
    "json": "CASE WHEN n % 7 > 0 THEN '{{\"age\": ' || (n % 90) || ', \"city\": \"Zü' || (n % 5) || '\"}}' END",
}


@pytest.fixture(scope="module")
def client(redis_url) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture(scope="module")
def database(home) -> Iterator[str]:
    with scratch_database(home, "test_online_store") as url:
        yield url


@pytest.fixture(scope="module", params=["duckdb", "postgres"])
def people(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """PEOPLE contacts of t1 with up to four rows a view each, and some of t2 under the same ids."""
    if request.param == "duckdb":
        store = empty_store(DuckDBWarehouse(tmp_path_factory.mktemp("online") / "warehouse.duckdb"))
    else:
        store = empty_store(PostgresWarehouse(request.getfixturevalue("database")))
    series = f"(SELECT CAST(n AS integer) AS n FROM generate_series(0, {PEOPLE - 1}) AS s(n)) AS people"
    days = "(VALUES (400, 0), (40, 0), (5, 3), (5, 20), (-2, 0)) AS versions (age, late)"
    now = f"timestamptz '{NOW.isoformat()}'"
    statements = [f"INSERT INTO marts.dim_contacts SELECT 't1', 'c' || n FROM {series}"]
    statements.append(f"INSERT INTO marts.dim_contacts SELECT 't2', 'c' || n FROM {series} WHERE n < 10")
    for number, view in enumerate(FEATURE_VIEWS):
        values = ", ".join(
            VALUES[feature.dtype].format(i=f"(age + late + {i})", now=now) for i, feature in enumerate(view.features)
        )
        statements.append(
            f"INSERT INTO {view.source.table} SELECT CASE WHEN n % 50 = 49 THEN 't2' ELSE 't1' END, 'c' || n,"
            f" {now} - age * INTERVAL '1 day', {now} - (age - late) * INTERVAL '1 day', {values}"
            f" FROM {series}, {days} WHERE (n + age + {number}) % 3 > 0"
        )
    store.write(statements)
    return store


def ids(count: int = PEOPLE) -> list[str]:
    return [f"c{number}" for number in range(count)]


def add_contacts(store: Store, *contacts: str) -> None:
    for contact in contacts:
        store.write(["INSERT INTO marts.dim_contacts VALUES (?, ?)"], ["t1", contact])


@pytest.fixture
def small(tmp_path: Path, client: redis.Redis) -> Iterator[Store]:
    """Three contacts of t1, nothing known of them; Redis is empty of t1 before and after."""
    store = empty_store(DuckDBWarehouse(tmp_path / "warehouse.duckdb"))
    add_contacts(store, "c0", "c1", "c2")
    empty_redis(client)
    yield store
    empty_redis(client)


def empty_redis(client: redis.Redis) -> None:
    for key in client.scan_iter("features:t1:*"):
        client.delete(key)


def found(client: redis.Redis, *contacts: str) -> list[bool]:
    return get_online_features(client, "t1", contacts, SERVICE).found.tolist()


class TestSameAsOffline:
    @pytest.fixture(scope="class")
    def both(self, people: Store, client: redis.Redis, redis_url: str) -> tuple[pl.DataFrame, OnlineFeatures]:
        """What retrieval says of all people at NOW, and what is online after a materialisation of that moment."""
        empty_redis(client)
        assert materialize(people.warehouse, redis_url, "t1", NOW).contacts == PEOPLE
        spine = pl.DataFrame({"tenant_id": "t1", "contact_id": ids(), "event_timestamp": NOW})
        offline = get_historical_features(people.warehouse, spine, EVERYTHING)
        return offline, get_online_features(client, "t1", ids(), EVERYTHING)

    def test_every_feature_of_everybody_is_the_same(self, both):
        offline, online = both

        for position, name in enumerate(NUMBERS):
            known = offline[name].cast(pl.Float32)
            assert 0 < known.null_count() < PEOPLE, name
            np.testing.assert_array_equal(online.matrix[:, position], known.fill_null(float("nan")).to_numpy())
        for position, name in enumerate(MOMENTS):
            known = offline[name].dt.epoch("us")
            assert 0 < known.null_count() < PEOPLE, name
            np.testing.assert_array_equal(online.moments[:, position], known.fill_null(int(MISSING_MOMENT)).to_numpy())
        attributes = offline["contact_attributes"]
        assert 0 < attributes.null_count() < PEOPLE
        assert list(online.attributes) == [json.loads(text or "{}") for text in attributes]
        assert online.found.all()
        assert {online.timezone} == set(offline["tenant_timezone"])

    def test_everybody_of_all_tenants_at_one_moment_is_everybody_in_a_spine(self, people: Store):
        everybody = [("t1", contact) for contact in ids()] + [("t2", contact) for contact in ids(10)]
        spine = pl.DataFrame(everybody, schema=["tenant_id", "contact_id"], orient="row")
        offline = get_historical_features(people.warehouse, spine.with_columns(event_timestamp=NOW), EVERYTHING)

        with open_session(people.warehouse) as session:
            found = pl.from_arrow(session.table(as_of_everybody(session.dialect, EVERYTHING.views(), NOW)))

        assert_frame_equal(found, offline.drop("tenant_id", "event_timestamp"), check_row_order=False)

    @pytest.mark.parametrize("service", FEATURE_SERVICES.values(), ids=lambda service: service.name)
    def test_every_models_matrix_is_the_same(self, both, service):
        offline, online = both
        frame = offline.with_columns(campaign_attributes=pl.lit('{"offer": "gift"}'))
        typed = {"contact": {"age": "number", "city": "category"}, "campaign": {"offer": "category"}}
        inputs = fit_inputs(frame, service, typed)

        matrix = encode_online(online, inputs, {"offer": "gift"}, NOW)

        np.testing.assert_array_equal(matrix, encode(frame, inputs))


class TestSchemaChange:
    # The layout that a later version of the features would have: one number gone, one new, one moment gone.
    NEWER = Layout(MOMENTS[1:], ("brand_new_30d", *NUMBERS[1:]))

    def test_before_the_next_materialisation_old_rows_are_read_by_the_names_both_know(self, small, client, redis_url):
        plant_everything(small, "c0", 5)
        materialize(small.warehouse, redis_url, "t1", NOW)

        newer = get_online_features(client, "t1", ["c0", "nobody", "c1"], SERVICE, self.NEWER)

        assert newer.names == self.NEWER.numbers
        assert newer.found.tolist() == [True, False, True]
        assert np.isnan(newer.matrix[0, 0])
        assert (newer.matrix[0, 1:] == 5).all()
        assert newer.moment_names == MOMENTS[1:]
        assert (newer.moments[0] == newer.moments[0, 0]).all()
        assert newer.attributes[0] == {"mark": 5}
        assert newer.snapshot_id == "20260301T123015.123456Z"

    def test_after_it_both_schemas_readers_find_rows_of_their_own(self, small, client, redis_url):
        plant_everything(small, "c0", 5)
        older = Layout(MOMENTS[1:], NUMBERS[1:])
        materialize(small.warehouse, redis_url, "t1", NOW - DAY, older)
        before = get_online_features(client, "t1", ["c0"], SERVICE)
        materialize(small.warehouse, redis_url, "t1", NOW)

        after = get_online_features(client, "t1", ["c0"], SERVICE)
        not_restarted = get_online_features(client, "t1", ["c0"], SERVICE, older)

        assert np.isnan(before.matrix[0, 0])
        assert before.moments[0, 0] == MISSING_MOMENT
        assert (after.matrix[0] == 5).all()
        assert (not_restarted.matrix[0] == 5).all()
        assert [one.snapshot_id[:8] for one in (before, after, not_restarted)] == ["20260228", "20260301", "20260228"]

    def test_of_several_older_schemas_the_last_written_is_read(self, small, client, redis_url):
        plant_everything(small, "c0", 5)
        for age, dropped in ((3, 1), (1, 2), (2, 3)):
            materialize(small.warehouse, redis_url, "t1", NOW - age * DAY, Layout(MOMENTS, NUMBERS[dropped:]))

        read = get_online_features(client, "t1", ["c0"], SERVICE)

        assert read.snapshot_id.startswith("20260228")
        assert np.isnan(read.matrix[0, :2]).all()
        assert not np.isnan(read.matrix[0, 2:]).any()

    def test_an_older_schema_is_forgotten_when_its_rows_have_expired(self, small, client, redis_url):
        older = Layout(MOMENTS, NUMBERS[1:])
        materialize(small.warehouse, redis_url, "t1", NOW - 9 * DAY, older)
        materialize(small.warehouse, redis_url, "t1", NOW)

        assert client.hkeys(schemas_key("t1")) == [CURRENT.schema.encode()]

    def test_an_event_loop_reads_the_same(self, small, client, redis_url):
        plant_everything(small, "c0", 5)
        materialize(small.warehouse, redis_url, "t1", NOW)

        async def read() -> OnlineFeatures:
            async with redis.asyncio.Redis.from_url(redis_url) as connected:
                return await get_online_features_async(connected, "t1", ["c0", "nobody"], SERVICE, self.NEWER)

        online, expected = asyncio.run(read()), get_online_features(client, "t1", ["c0", "nobody"], SERVICE, self.NEWER)

        np.testing.assert_array_equal(online.matrix, expected.matrix)
        assert online.found.tolist() == [True, False]


def plant_everything(store: Store, contact: str, mark: int) -> None:
    """A row in every view whose values carry the mark."""
    values = {"float32": float(mark), "timestamp": NOW - mark * DAY, "json": json.dumps({"mark": mark})}
    for view in FEATURE_VIEWS:
        row = ["t1", contact, NOW - 9 * DAY, NOW - 9 * DAY, *(values[feature.dtype] for feature in view.features)]
        store.write([f"INSERT INTO {view.source.table} VALUES ({', '.join('?' for _ in row)})"], row)


class TestDeletion:
    def test_a_contact_that_is_gone_loses_its_row_with_the_next_materialisation(self, small, client, redis_url):
        materialize(small.warehouse, redis_url, "t1", NOW)
        small.write(["DELETE FROM marts.dim_contacts WHERE contact_id = 'c1'"])

        snapshot = materialize(small.warehouse, redis_url, "t1", NOW)

        assert (snapshot.contacts, snapshot.removed) == (2, 1)
        assert found(client, "c0", "c1", "c2") == [True, False, True]

    def test_it_loses_it_in_every_schema_and_after_a_run_that_was_stopped(self, small, client, redis_url):
        materialize(small.warehouse, redis_url, "t1", NOW, Layout(MOMENTS, NUMBERS[1:]))
        small.write(["DELETE FROM marts.dim_contacts WHERE contact_id = 'c1'"])
        # A run that stopped after its first batch recorded whom it was about to write.
        client.hset(members_key("t1"), "2:0", "c9")
        client.set(contact_key("t1", "c9"), CURRENT.empty + b"{}")

        snapshot = materialize(small.warehouse, redis_url, "t1", NOW)

        assert snapshot.removed == 2
        assert sorted(client.scan_iter("features:t1:contact:*")) == sorted(
            contact_key("t1", contact, schema).encode()
            for contact in ("c0", "c2")
            for schema in (CURRENT.schema, Layout(MOMENTS, NUMBERS[1:]).schema)
        )

    def test_another_tenants_rows_stay(self, small, client, redis_url):
        small.write(["INSERT INTO marts.dim_contacts VALUES ('t2', 'c1')"])
        materialize(small.warehouse, redis_url, "t2", NOW)
        materialize(small.warehouse, redis_url, "t1", NOW)

        forget(client, "t1", ["c1"])

        assert get_online_features(client, "t2", ["c1"], SERVICE).found.tolist() == [True]
        forget(client, "t2", ["c1"])

    def test_a_forgotten_contacts_rows_are_gone_in_every_schema(self, small, client, redis_url):
        materialize(small.warehouse, redis_url, "t1", NOW, Layout(MOMENTS, NUMBERS[1:]))
        materialize(small.warehouse, redis_url, "t1", NOW)

        assert forget(client, "t1", ["c1", "nobody"]) == 2

        assert not list(client.scan_iter("features:t1:contact:*:c1"))
        assert found(client, "c0", "c1", "c2") == [True, False, True]
        assert forget(client, "t1", []) == 0

    def test_a_warehouse_that_has_not_heard_of_the_erasure_does_not_bring_it_back(self, small, client, redis_url):
        materialize(small.warehouse, redis_url, "t1", NOW)
        forget(client, "t1", ["c1"])

        assert materialize(small.warehouse, redis_url, "t1", NOW + DAY).contacts == 2

        assert found(client, "c0", "c1", "c2") == [True, False, True]
        assert b"c1" not in b"".join(client.hvals(members_key("t1")))


class TestAge:
    def test_whatever_nobody_refreshes_expires(self, small, client, redis_url):
        materialize(small.warehouse, redis_url, "t1", NOW)
        forget(client, "t1", ["c2"])

        keys = list(client.scan_iter("features:t1:*"))

        assert len(keys) == 6
        assert all(7 * 86_400 < client.ttl(key) <= 8 * 86_400 for key in keys)

    def test_a_row_is_stale_two_days_after_its_snapshot_and_so_is_none(self, small, client, redis_url):
        materialize(small.warehouse, redis_url, "t1", NOW)

        online = get_online_features(client, "t1", ["c0", "nobody"], SERVICE)

        assert online.stale(NOW + 2 * DAY).tolist() == [False, True]
        assert online.stale(NOW + 2 * DAY + dt.timedelta(microseconds=1)).tolist() == [True, True]
        assert online.stale(NOW + DAY, after=dt.timedelta(hours=1)).tolist() == [True, True]


class TestWriter:
    def test_what_redis_refuses_is_raised_and_the_connection_can_be_used_again(self, client):
        client.config_set("maxmemory", 1)
        try:
            with pytest.raises(redis.ResponseError, match="maxmemory"), OnlineWriter(client, 60) as writer:
                writer.write([b"features:t1:x"], [b"y"])
        finally:
            client.config_set("maxmemory", 0)

        assert client.ping() is True
        assert client.get("features:t1:x") is None

    def test_rows_expire(self, client):
        with OnlineWriter(client, 60) as writer:
            writer.write([b"features:t1:x", b"features:t1:y"], [b"1", b"2"])

        assert [0 < client.ttl(key) <= 60 for key in ("features:t1:x", "features:t1:y")] == [True, True]
        client.delete("features:t1:x", "features:t1:y")

    def test_a_callers_error_leaves_no_answer_behind(self, client):
        def stop_between_two_writes() -> None:
            with OnlineWriter(client, 60) as writer:
                writer.write([b"features:t1:x"], [b"y"])
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            stop_between_two_writes()

        assert client.get("features:t1:x") in (b"y", None)
        client.delete("features:t1:x")

    def test_any_bytes_are_kept(self, client):
        value = bytes(range(256)) + b"\r\n$-1\r\n"
        with OnlineWriter(client, 60) as writer:
            writer.write([b"features:t1:x"] * 2_500, [value] * 2_500)

        assert writer.written == 2_500
        assert client.get("features:t1:x") == value
        client.delete("features:t1:x")


def test_memory_does_not_grow_with_the_contacts(people, redis_url, monkeypatch):
    def peak(batch: int) -> int:
        monkeypatch.setattr("feature_store.materialization.CONTACTS_A_BATCH", batch)
        tracemalloc.start()
        try:
            materialize(people.warehouse, redis_url, "t1", NOW)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(PEOPLE // 20) < peak(PEOPLE) / 3


def test_what_serving_packs_by_hand_is_read(client):
    numbers = np.arange(len(NUMBERS), dtype=np.float32)[None, :]
    (value,) = pack(1, numbers, np.full((1, len(MOMENTS)), MISSING_MOMENT), ['{"a": 1}'])
    client.mset({contact_key("t1", "x"): value, timezone_key("t1"): "Asia/Tokyo"})

    online = get_online_features(client, "t1", ["x"], SERVICE)

    assert (online.matrix == numbers).all()
    assert (online.attributes[0], online.timezone, online.snapshot_id) == (
        {"a": 1},
        "Asia/Tokyo",
        "19700101T000000.000001Z",
    )
    client.delete(contact_key("t1", "x"), timezone_key("t1"))
