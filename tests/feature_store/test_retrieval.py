"""No view lets a row from the future, a late, an expired or a stranger's into a training row, on any backend."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from polars.testing import assert_frame_equal

from feature_store.feature_services import FEATURE_SERVICES, FeatureService
from feature_store.feature_view import FeatureView
from feature_store.feature_views import FEATURE_VIEWS, NUMBERS
from feature_store.on_demand import ON_DEMAND
from feature_store.retrieval import InvalidSpine, get_historical_features
from feature_store.warehouse import DuckDBWarehouse, PostgresWarehouse
from tests.feature_store.stores import Store, empty_store, scratch_database

EVERYTHING = FeatureService("everything", NUMBERS, tuple(ON_DEMAND))
AT = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
SECOND = dt.timedelta(seconds=1)


@pytest.fixture(scope="module")
def database(home) -> Iterator[str]:
    with scratch_database(home, "test_retrieval") as url:
        yield url


@pytest.fixture(params=["duckdb", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """Empty views, and the tenants t1 and t2."""
    if request.param == "duckdb":
        return empty_store(DuckDBWarehouse(tmp_path / "warehouse.duckdb"))
    return empty_store(PostgresWarehouse(request.getfixturevalue("database")))


def plant(
    store: Store,
    view: FeatureView,
    mark: int,
    event: dt.datetime,
    created: dt.datetime | None = None,
    tenant: str = "t1",
) -> None:
    """A row of the view whose every value carries the mark."""
    values = {
        "float32": float(mark),
        "timestamp": dt.datetime(2000, 1, 1, tzinfo=dt.UTC) + mark * DAY,
        "json": f'{{"mark": {mark}}}',
    }
    row = [tenant, "c1", event, created or event, *(values[feature.dtype] for feature in view.features)]
    store.write([f"INSERT INTO {view.source.table} VALUES ({', '.join('?' for _ in row)})"], row)


def spine(*moments: dt.datetime, tenant: str = "t1", contact: str = "c1") -> pl.DataFrame:
    return pl.DataFrame({"tenant_id": tenant, "contact_id": contact, "event_timestamp": moments})


def marks(frame: pl.DataFrame, view: FeatureView) -> list[int | None]:
    """The mark of the row each spine row got, which must be the same in all its columns."""
    found = []
    for row in frame.iter_rows(named=True):
        seen = set()
        for feature in view.features:
            value = row[feature.name]
            if value is None:
                seen.add(None)
            elif feature.dtype == "float32":
                seen.add(int(value))
            elif feature.dtype == "timestamp":
                seen.add((value - dt.datetime(2000, 1, 1, tzinfo=dt.UTC)).days)
            else:
                seen.add(int(value.split(":")[1].rstrip("}")))
        assert len(seen) == 1
        found.append(seen.pop())
    return found


@pytest.mark.parametrize("view", FEATURE_VIEWS, ids=lambda view: view.name)
class TestNoLeak:
    def test_a_planted_row_of_the_future_changes_nothing(self, store, view):
        plant(store, view, 1, AT - 2 * DAY)
        before = get_historical_features(store.warehouse, spine(AT), EVERYTHING)
        plant(store, view, 9, AT + SECOND)

        after = get_historical_features(store.warehouse, spine(AT), EVERYTHING)

        assert_frame_equal(before, after)
        assert marks(after, view) == [1]

    def test_a_row_that_became_known_later_changes_nothing(self, store, view):
        plant(store, view, 1, AT - 2 * DAY)
        before = get_historical_features(store.warehouse, spine(AT), EVERYTHING)
        plant(store, view, 9, AT - DAY, created=AT + SECOND)

        after = get_historical_features(store.warehouse, spine(AT), EVERYTHING)

        assert_frame_equal(before, after)
        assert marks(after, view) == [1]

    def test_a_late_row_counts_from_when_it_was_known(self, store, view):
        plant(store, view, 1, AT - 2 * DAY)
        plant(store, view, 2, AT - DAY, created=AT + DAY)

        found = get_historical_features(store.warehouse, spine(AT, AT + DAY), EVERYTHING)

        assert marks(found, view) == [1, 2]

    def test_a_late_row_about_long_ago_does_not_replace_a_newer_one(self, store, view):
        plant(store, view, 2, AT - DAY)
        plant(store, view, 1, AT - 20 * DAY, created=AT)

        assert marks(get_historical_features(store.warehouse, spine(AT + SECOND), EVERYTHING), view) == [2]

    def test_another_tenants_row_changes_nothing(self, store, view):
        plant(store, view, 1, AT - 2 * DAY)
        before = get_historical_features(store.warehouse, spine(AT), EVERYTHING)
        plant(store, view, 9, AT - DAY, tenant="t2")

        after = get_historical_features(store.warehouse, spine(AT), EVERYTHING)

        assert_frame_equal(before, after)
        assert marks(after, view) == [1]

    def test_an_expired_row_changes_nothing(self, store, view):
        before = get_historical_features(store.warehouse, spine(AT), EVERYTHING)
        plant(store, view, 9, AT - (view.ttl or 4000 * DAY) - SECOND)

        after = get_historical_features(store.warehouse, spine(AT), EVERYTHING)

        # Only the profile has no ttl: who somebody is does not go stale.
        assert before.equals(after) == (view.name != "contact_profile")

    def test_a_row_older_than_the_ttl_is_not_used(self, store, view):
        ttl = view.ttl or 4000 * DAY
        plant(store, view, 1, AT - ttl)

        found = get_historical_features(store.warehouse, spine(AT, AT + SECOND), EVERYTHING)

        assert marks(found, view) == [1, None if view.ttl else 1]

    def test_any_mixture_of_late_rows_gives_the_newest_that_was_true_and_known(self, store, view):
        chance = random.Random(3)
        rows = []
        for mark in range(60):
            event = AT - chance.randrange(30) * DAY
            row = (mark, event, event + chance.choice([0, 0, 1, 5, 12]) * DAY)
            if (row[1], row[2]) not in {known[1:] for known in rows}:
                rows.append(row)
                plant(store, view, *row)
        moments = [AT - chance.randrange(35 * 86400) * SECOND for _ in range(200)]

        found = marks(get_historical_features(store.warehouse, spine(*moments), EVERYTHING), view)

        def newest(at: dt.datetime) -> int | None:
            usable = [(event, created, mark) for mark, event, created in rows if event <= at and created <= at]
            return max(usable)[2] if usable else None

        assert found == [newest(at) for at in moments]
        assert len(set(found)) > 5


class TestSpine:
    def test_every_row_is_kept_in_its_order_with_its_own_columns(self, store):
        plant(store, FEATURE_VIEWS[0], 1, AT - DAY)
        given = pl.concat([spine(AT, AT - 5 * DAY, AT), spine(AT, contact="nobody"), spine(AT, tenant="t3")])
        given = given.with_columns(label=pl.Series([3, 1, 2, 5, 4]))

        found = get_historical_features(store.warehouse, given, FEATURE_SERVICES["lead_scoring_v1"])

        assert_frame_equal(found.select(given.columns), given)
        assert found["sent_7d"].to_list() == [1, None, 1, None, None]

    def test_a_spine_of_arrow_gives_the_same_in_arrow(self, store):
        for view in FEATURE_VIEWS:
            plant(store, view, 1, AT - DAY)
        given = spine(AT, AT - 5 * DAY, AT).with_columns(label=pl.Series([3, 1, 2]))

        table = get_historical_features(store.warehouse, given.to_arrow(), EVERYTHING)

        assert isinstance(table, pa.Table)
        expected = get_historical_features(store.warehouse, given, EVERYTHING)
        assert_frame_equal(pl.DataFrame(table), expected)
        assert expected["contact_attributes"].to_list() == ['{"mark": 1}', None, '{"mark": 1}']

    @pytest.mark.parametrize(
        "moments",
        [
            pl.Series([AT, None], dtype=pl.Datetime("ns", "Asia/Tokyo")),
            pl.Series([AT.replace(tzinfo=None), None], dtype=pl.Datetime("ms")),
        ],
        ids=["another zone, nanoseconds", "no zone, milliseconds"],
    )
    def test_any_way_to_write_a_moment_is_read_and_none_is_kept_without_features(self, store, moments):
        plant(store, FEATURE_VIEWS[0], 1, AT)
        plant(store, FEATURE_VIEWS[0], 9, AT + SECOND)
        given = pl.DataFrame({"tenant_id": "t1", "contact_id": "c1", "event_timestamp": moments})

        found = get_historical_features(store.warehouse, given, EVERYTHING)

        assert_frame_equal(found.select(given.columns), given)
        assert found["sent_7d"].to_list() == [1, None]

    def test_a_spine_without_moments_is_refused(self, store):
        given = spine(AT).with_columns(event_timestamp=pl.lit("yesterday"))

        with pytest.raises(InvalidSpine, match="yesterday"):
            get_historical_features(store.warehouse, given, EVERYTHING)

    def test_a_view_is_read_with_all_its_columns(self, store):
        view = FEATURE_VIEWS[0]
        plant(store, view, 1, AT)

        found = get_historical_features(store.warehouse, spine(AT), view)

        assert marks(found, view) == [1]
        assert found.columns == [*spine(AT).columns, *(feature.name for feature in view.features), "tenant_timezone"]

    def test_an_empty_spine_gives_the_columns(self, store):
        found = get_historical_features(
            store.warehouse, spine().cast({"event_timestamp": pl.Datetime("us", "UTC")}), EVERYTHING
        )

        assert found.height == 0
        assert set(NUMBERS) <= set(found.columns)

    def test_a_missing_key_is_refused(self, store):
        with pytest.raises(InvalidSpine, match="contact_id"):
            get_historical_features(store.warehouse, spine(AT).drop("contact_id"), EVERYTHING)

    def test_a_column_that_retrieval_would_add_is_refused(self, store):
        with pytest.raises(InvalidSpine, match="sent_7d"):
            get_historical_features(store.warehouse, spine(AT).with_columns(sent_7d=1), EVERYTHING)


def test_both_backends_give_the_same_to_the_bit(database, tmp_path):
    """Some thousand rows a view, late, expired, of the future and of two tenants, and a spine that asks between."""
    stores = [
        empty_store(DuckDBWarehouse(tmp_path / "warehouse.duckdb")),
        empty_store(PostgresWarehouse(database)),
    ]
    chance = random.Random(11)
    at = f"timestamptz '{AT.isoformat()}'"
    values = {
        "float32": "(n * 7919 % 1000) / 7.0e0",
        "timestamp": f"{at} - n * INTERVAL '1 minute'",
        "json": "'v' || n",
    }
    for view in FEATURE_VIEWS:
        columns = ", ".join(f"CASE WHEN n % 5 > 0 THEN {values[feature.dtype]} END" for feature in view.features)
        rows = (
            f"INSERT INTO {view.source.table} SELECT 't' || (1 + n % 3 % 2), 'c' || (n * 31 % 40), {at} - age,"
            f" {at} - age + n % 4 * INTERVAL '13 hours', {columns} FROM (SELECT CAST(n AS integer) AS n,"
            " n * 7907 % 700 * INTERVAL '1 day' + n * INTERVAL '1 second' AS age"
            " FROM generate_series(1, 4000) AS s(n)) AS made"
        )
        for store in stores:
            store.write([rows])
    given = pl.DataFrame(
        {
            "tenant_id": [f"t{chance.randint(1, 3)}" for _ in range(2_000)],
            "contact_id": [f"c{chance.randrange(45)}" for _ in range(2_000)],
            "event_timestamp": [AT - chance.randrange(800 * 86_400) * SECOND for _ in range(2_000)],
        }
    )

    duckdb, postgres = (get_historical_features(store.warehouse, given, EVERYTHING) for store in stores)

    assert_frame_equal(duckdb, postgres, check_exact=True)
    known = duckdb["sent_7d"].is_not_null().mean()
    assert 0.3 < known < 0.9
