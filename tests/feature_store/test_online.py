"""What a prediction reads online is what training reads offline, for every feature and every input of a model."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys

import numpy as np
import polars as pl
import pytest
import redis

from feature_store.feature_services import FEATURE_SERVICES, FeatureService
from feature_store.feature_views import MOMENTS, NUMBERS
from feature_store.materialization import MaterializedSnapshot, materialize
from feature_store.on_demand import MISSING_MOMENT, ON_DEMAND
from feature_store.online import contact_key, get_online_features
from feature_store.retrieval import get_historical_features
from feature_store.transforms import encode, encode_online, fit_inputs

EVERYTHING = FeatureService("everything", NUMBERS, tuple(ON_DEMAND))
NOW = dt.datetime(2026, 1, 15, 16, 45, 30, 123456, tzinfo=dt.UTC)
CAMPAIGN = {"offer_type": "discount", "channels": ["email", "web"], "reward": 5}
MODEL_INPUTS = {
    "contact": {"age": "number", "gender": "category"},
    "campaign": {"offer_type": "category", "channels": "set", "reward": "number"},
}


@pytest.fixture(scope="module")
def client(redis_url):
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture(scope="module")
def snapshot(history, redis_url) -> MaterializedSnapshot:
    return materialize(history.warehouse, redis_url, str(history.ours), NOW)


@pytest.fixture(scope="module")
def contacts(history) -> list[str]:
    return [history.contact(number) for number in range(1, 41)]


@pytest.fixture(scope="module")
def offline(history, contacts, snapshot) -> pl.DataFrame:
    spine = pl.DataFrame({"tenant_id": str(history.ours), "contact_id": contacts, "event_timestamp": NOW})
    return get_historical_features(history.warehouse, spine, EVERYTHING)


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_is_the_same_online_and_offline(history, client, contacts, offline, name):
    online = get_online_features(client, history.ours, contacts, EVERYTHING)

    wanted = offline[name].cast(pl.Float32).fill_null(float("nan")).to_numpy()
    np.testing.assert_array_equal(online.matrix[:, online.names.index(name)], wanted)
    assert offline[name].is_not_null().any()


@pytest.mark.parametrize("name", MOMENTS)
def test_a_moment_is_the_same_to_the_microsecond(history, client, contacts, offline, name):
    online = get_online_features(client, history.ours, contacts, EVERYTHING)

    wanted = offline[name].dt.epoch("us").fill_null(int(MISSING_MOMENT)).to_numpy()
    np.testing.assert_array_equal(online.moments[:, online.moment_names.index(name)], wanted)


def test_attributes_and_the_tenants_clock_are_the_same(history, client, contacts, offline):
    online = get_online_features(client, history.ours, contacts, EVERYTHING)

    assert list(online.attributes) == [json.loads(text) for text in offline["contact_attributes"]]
    assert online.timezone == "America/New_York" == offline["tenant_timezone"][0]


@pytest.mark.parametrize("service", FEATURE_SERVICES.values(), ids=lambda service: service.name)
@pytest.mark.parametrize("at", [NOW, NOW + dt.timedelta(hours=4.2)], ids=["then", "hours later"])
def test_a_models_matrix_is_the_same_from_a_frame_and_from_the_online_store(
    history, client, contacts, offline, service, at
):
    frame = offline.with_columns(
        pl.lit(at).cast(pl.Datetime("us", "UTC")).alias("event_timestamp"),
        campaign_attributes=pl.lit(json.dumps(CAMPAIGN)),
    )
    inputs = fit_inputs(frame, service, MODEL_INPUTS)
    online = get_online_features(client, history.ours, contacts, service)

    many = encode_online(online, inputs, CAMPAIGN, at)
    one = encode_online(get_online_features(client, history.ours, contacts[:1], service), inputs, CAMPAIGN, at)

    assert many.dtype == np.float32
    assert many.shape == (40, len(inputs))
    np.testing.assert_array_equal(many, encode(frame, inputs))
    np.testing.assert_array_equal(one, many[:1])


class TestStore:
    def test_every_contact_is_written_and_the_snapshot_is_named_by_its_moment(
        self, history, client, snapshot, contacts
    ):
        online = get_online_features(client, history.ours, contacts, EVERYTHING)

        assert snapshot == MaterializedSnapshot("20260115T164530.123456Z", 40)
        assert online.found.all()
        assert online.snapshot_id == snapshot.snapshot_id

    def test_an_unknown_contact_is_not_found_and_all_missing(self, history, client, snapshot, contacts):
        online = get_online_features(client, history.ours, ["nobody", contacts[0]], EVERYTHING)

        assert online.found.tolist() == [False, True]
        assert np.isnan(online.matrix[0]).all()
        assert (online.moments[0] == MISSING_MOMENT).all()
        assert online.attributes[0] == {}

    def test_another_tenants_contact_is_not_found(self, history, client, snapshot, contacts):
        online = get_online_features(client, history.theirs, contacts, EVERYTHING)

        assert not online.found.any()
        assert online.snapshot_id == ""

    def test_rows_expire_when_nobody_refreshes_them(self, history, client, snapshot, contacts):
        assert 0 < client.ttl(contact_key(history.ours, contacts[0])) <= 8 * 86400

    def test_no_contacts_give_no_rows(self, history, client, snapshot):
        assert get_online_features(client, history.ours, [], EVERYTHING).matrix.shape[0] == 0


def test_reading_online_imports_neither_polars_nor_duckdb():
    program = (
        "import sys, feature_store.online, feature_store.transforms, feature_store.retrieval, feature_store.warehouse;"
        "heavy = ('polars', 'duckdb', 'pyarrow', 'pandas', 'sklearn', 'mlflow', 'dagster');"
        "print([module for module in heavy if module in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
