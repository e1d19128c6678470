from __future__ import annotations

import datetime as dt
import json
import math
from typing import Any

import numpy as np
import polars as pl
import pytest

from feature_store.feature_services import FeatureService
from feature_store.feature_views import MOMENTS, NUMBERS
from feature_store.on_demand import MISSING_MOMENT, ON_DEMAND
from feature_store.online import OnlineFeatures
from feature_store.transforms import (
    MAX_CATEGORIES,
    MIN_PEOPLE,
    InputColumn,
    MissingColumn,
    encode,
    encode_moments,
    encode_online,
    fit_inputs,
)

SERVICE = FeatureService("test_v1", ("sent_7d",))
AT = dt.datetime(2026, 1, 7, 15, 30, tzinfo=dt.UTC)  # a Wednesday; 10:30 in New York


def frame(*contacts: dict[str, Any], campaign: dict[str, Any] | None = None, **columns: Any) -> pl.DataFrame:
    texts = [json.dumps(contact) for contact in contacts]
    given = {"contact_attributes": texts, "campaign_attributes": [json.dumps(campaign or {})] * len(texts)}
    return pl.DataFrame(given | {"sent_7d": [1.0] * len(texts)} | columns)


def attribute(field: str, **kind: str) -> InputColumn:
    return InputColumn("x", "contact_attribute", field, **kind)


class TestFitInputs:
    def test_features_come_first_then_attributes_by_owner_and_name(self):
        rows = frame({"age": 1, "gender": "F"}, {"age": 2, "gender": "M"}, campaign={"channels": ["web", "email"]})
        kinds = {"campaign": {"channels": "set"}, "contact": {"gender": "category", "age": "number"}}

        names = [each.name for each in fit_inputs(rows, SERVICE, kinds)]

        assert names == [
            "sent_7d", "contact.age", "contact.gender=F", "contact.gender=M",
            "campaign.channels:email", "campaign.channels:web",
        ]  # fmt: skip

    def test_a_service_without_campaigns_takes_none_of_their_attributes(self):
        service = FeatureService("test_v1", ("sent_7d",), campaign_attributes=False)

        inputs = fit_inputs(frame({}, campaign={"reward": 1}), service, {"campaign": {"reward": "number"}})

        assert [each.name for each in inputs] == ["sent_7d"]

    def test_the_most_frequent_categories_are_kept(self):
        rows = frame(*[{"city": f"{n:03d}"} for n in range(50)], *[{"city": f"{n:03d}"} for n in range(20, 50)])

        inputs = fit_inputs(rows, SERVICE, {"contact": {"city": "category"}})

        assert [each.equals for each in inputs[1:]] == [f"{n:03d}" for n in range(20, 20 + MAX_CATEGORIES)]

    def test_what_few_people_have_is_no_category_however_often_they_come(self):
        """A word of one person's own would name it in the models."""
        cities = ["Bonn"] * MIN_PEOPLE + ["Quixworth Hall"] * 40 + ["Ulm"] * (MIN_PEOPLE - 1)
        people = [*range(MIN_PEOPLE), *[100] * 40, *range(200, 200 + MIN_PEOPLE - 1)]
        rows = frame(*[{"city": city, "likes": [city]} for city in cities], contact_id=list(map(str, people)))

        inputs = fit_inputs(rows, SERVICE, {"contact": {"city": "category", "likes": "set"}})

        assert [each.name for each in inputs] == ["sent_7d", "contact.city=Bonn", "contact.likes:Bonn"]


class TestEncode:
    def test_numbers_are_values_or_missing(self):
        encoded = encode(frame({"age": 30}, {"age": None}, {}, {"age": "thirty"}), [attribute("age")])

        np.testing.assert_array_equal(encoded[:, 0], np.array([30, np.nan, np.nan, np.nan], np.float32))

    @pytest.mark.parametrize("text", ["1e39", "-1e300", "1e400", "1" + "0" * 5000])
    def test_a_number_no_model_can_be_fitted_on_is_missing(self, text: str):
        rows = frame({"age": 30}, {}).with_columns(contact_attributes=pl.Series(['{"age": 30}', f'{{"age": {text}}}']))

        np.testing.assert_array_equal(encode(rows, [attribute("age")])[:, 0], np.array([30, np.nan], np.float32))

    def test_a_category_is_one_where_it_is_the_value_and_zero_for_the_unseen(self):
        inputs = [attribute("gender", equals="F"), attribute("gender", equals="M")]

        encoded = encode(frame({"gender": "F"}, {"gender": "M"}, {"gender": "other"}, {}), inputs)

        assert encoded.tolist() == [[1, 0], [0, 1], [0, 0], [0, 0]]

    def test_categories_that_are_not_text_are_known_by_their_json(self):
        encoded = encode(frame({"vip": True}, {"vip": False}, {"vip": "true"}), [attribute("vip", equals="true")])

        assert encoded[:, 0].tolist() == [1, 0, 1]

    def test_a_set_is_one_for_each_member(self):
        inputs = [attribute("likes", contains="a"), attribute("likes", contains="b")]

        assert encode(frame({"likes": ["a", "b"]}, {"likes": ["b", "c"]}, {"likes": []}, {}), inputs).tolist() == [
            [1, 1], [0, 1], [0, 0], [0, 0],
        ]  # fmt: skip

    def test_the_clock_is_the_tenants(self):
        rows = frame(
            {}, {}, event_timestamp=[AT, AT], tenant_timezone=["America/New_York", "Asia/Tokyo"],
            active_morning_90d=[3.0, 3.0], active_afternoon_90d=[1.0, 1.0], active_evening_90d=[0.0, 0.0],
            active_night_90d=[0.0, 0.0],
        )  # fmt: skip
        names = ("send_hour_sin", "send_hour_cos", "send_weekday", "preferred_hour_share")

        encoded = encode(rows, [InputColumn(name, "on_demand", name) for name in names])

        angle = 10.5 / 24 * 2 * math.pi
        assert encoded[0].tolist() == pytest.approx([math.sin(angle), math.cos(angle), 2, 0.75])
        assert encoded[1, 2:].tolist() == [3, 0]  # 00:30 on Thursday: the night

    def test_ages_are_days_up_to_the_moment_of_use(self):
        rows = frame(
            {}, {}, event_timestamp=[AT, AT], tenant_timezone=["UTC", "UTC"],
            last_sent_at=[AT - dt.timedelta(hours=36), None],
        ).cast({"last_sent_at": pl.Datetime("us", "UTC")})  # fmt: skip

        encoded = encode(rows, [InputColumn("x", "on_demand", "days_since_last_sent")])

        np.testing.assert_array_equal(encoded[:, 0], np.array([1.5, np.nan], np.float32))

    def test_no_signs_of_life_give_no_share(self):
        zero = {f"active_{part}_90d": [0.0] for part in ("morning", "afternoon", "evening", "night")}
        rows = frame({}, event_timestamp=[AT], tenant_timezone=["UTC"], **zero)

        assert np.isnan(encode(rows, [InputColumn("x", "on_demand", "preferred_hour_share")])).all()

    def test_habits_are_rates_over_all_that_was_seen(self):
        rows = frame(
            {}, {}, event_timestamp=[AT, AT], tenant_timezone=["UTC", "UTC"],
            campaigns_total=[8.0, None], campaign_read_total=[5.0, None], campaign_replied_total=[2.0, None],
            inbound_total=[7.0, None], replies_total=[3.0, None], first_known_at=[AT - dt.timedelta(days=10), None],
        ).cast({"first_known_at": pl.Datetime("us", "UTC")})  # fmt: skip
        names = ("campaign_read_rate", "campaign_reply_rate", "unprompted_inbound_rate")

        encoded = encode(rows, [InputColumn(name, "on_demand", name) for name in names])

        assert encoded[0].tolist() == pytest.approx([5 / 8, 2 / (5 + 5), (7 - 3) / (10 + 30)])
        assert np.isnan(encoded[1]).all()

    def test_no_campaign_gives_no_read_rate(self):
        none = {"campaigns_total": [0.0], "campaign_read_total": [0.0]}
        rows = frame({}, event_timestamp=[AT], tenant_timezone=["UTC"], **none)

        assert np.isnan(encode(rows, [InputColumn("x", "on_demand", "campaign_read_rate")])).all()

    def test_columns_are_in_the_order_of_the_inputs(self):
        rows = frame({"age": 5}, sent_7d=[7.0])
        inputs = [attribute("age"), InputColumn("sent_7d", "feature", "sent_7d")]

        assert encode(rows, inputs).tolist() == [[5, 7]]
        assert encode(rows, inputs[::-1]).tolist() == [[7, 5]]

    def test_a_frame_without_a_needed_column_is_refused_by_name(self):
        with pytest.raises(MissingColumn, match="read_7d"):
            encode(frame({}), [InputColumn("read_7d", "feature", "read_7d")])


class TestInputColumn:
    @pytest.mark.parametrize(
        "column",
        [attribute("age"), attribute("a", equals="b"), InputColumn("c", "campaign_attribute", "d", contains="e")],
    )
    def test_it_survives_json(self, column):
        assert InputColumn.from_json(json.loads(json.dumps(column.to_json()))) == column

    def test_an_unknown_source_is_refused(self):
        with pytest.raises(ValueError, match="unknown input source"):
            InputColumn.from_json({"name": "x", "source": "weather", "field": "x"})


def test_one_contact_at_many_moments_is_encoded_as_at_each_of_them():
    chance = np.random.default_rng(3)
    moments = np.full((1, len(MOMENTS)), MISSING_MOMENT, np.int64)
    moments[0, ::2] = int((AT - dt.timedelta(days=3)).timestamp() * 1e6)
    one = OnlineFeatures(
        names=tuple(NUMBERS),
        matrix=chance.integers(0, 9, (1, len(NUMBERS))).astype(np.float32),
        found=np.ones(1, np.bool_),
        snapshot_id="",
        moment_names=tuple(MOMENTS),
        moments=moments,
        attributes=[{"size": "m"}],
        timezone="America/New_York",
        snapshots=np.zeros(1, np.int64),
    )
    inputs = [
        *(InputColumn(name, "on_demand", name) for name in ON_DEMAND),
        *(InputColumn(name, "feature", name) for name in NUMBERS[:3]),
        attribute("size", equals="m"),
        InputColumn("reward", "campaign_attribute", "reward"),
    ]
    # Over the night in which clocks go forward.
    hours = [dt.datetime(2026, 3, 7, 12, 30, tzinfo=dt.UTC) + dt.timedelta(hours=hour) for hour in range(48)]
    alone = [encode_online(one, inputs, {"reward": 2}, hour) for hour in hours]
    np.testing.assert_array_equal(encode_moments(one, inputs, {"reward": 2}, hours), np.concatenate(alone))
