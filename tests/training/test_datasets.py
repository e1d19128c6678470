"""Training sets from a real DuckDB file, and the splits that keep judgement honest."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from feature_store.warehouse import DuckDBWarehouse
from tests.training.conftest import OTHER_TENANT, START, TENANT, add_rows, campaign, send
from training.datasets import build_dataset, split_at, split_by_time, split_folds, split_people
from training.errors import EmptySplit, TooFewLabels
from training.models import churn, lead_scoring, model_named
from training.synthetic import synthetic_dataset

MODEL_INPUTS = {"contact": {"age": "number"}, "campaign": {"offer_type": "category"}}


def _engagement(warehouse: DuckDBWarehouse, now=START + timedelta(days=30)):
    return build_dataset(warehouse, TENANT, "engagement", now, MODEL_INPUTS, min_labels_per_class=1)


class TestSendSpine:
    @pytest.fixture(autouse=True)
    def _sends(self, warehouse: DuckDBWarehouse) -> None:
        add_rows(warehouse, "marts.dim_campaigns", [campaign("c1", offer_type="gift")])
        add_rows(warehouse, "marts.fct_sends", [send(1, read_at=START + timedelta(days=2)), send(2)])

    def test_labels_what_happened_inside_the_window(self, warehouse: DuckDBWarehouse) -> None:
        add_rows(warehouse, "marts.fct_sends", [send(3, read_at=START + timedelta(days=8))])
        found = _engagement(warehouse).frame
        assert dict(zip(found["contact_id"], found["label"], strict=True)) == {
            "contact-1": 1,
            "contact-2": 0,
            "contact-3": 0,
        }

    def test_leaves_out_a_send_whose_window_is_open(self, warehouse: DuckDBWarehouse) -> None:
        late = START + timedelta(days=25)
        add_rows(warehouse, "marts.fct_sends", [send(3, sent_at=late, read_at=late + timedelta(hours=1))])
        assert "contact-3" not in _engagement(warehouse).frame["contact_id"]
        assert "contact-3" in _engagement(warehouse, late + timedelta(days=7)).frame["contact_id"]

    def test_leaves_out_failed_sends_and_other_tenants(self, warehouse: DuckDBWarehouse) -> None:
        add_rows(warehouse, "marts.fct_sends", [send(3, failed_at=START), send(4, tenant_id=OTHER_TENANT)])
        assert sorted(_engagement(warehouse).frame["contact_id"]) == ["contact-1", "contact-2"]

    def test_joins_features_as_they_were_known_at_the_send(self, warehouse: DuckDBWarehouse) -> None:
        def snapshot(day: int, read_90d: float) -> dict[str, object]:
            at = START + timedelta(days=day)
            return {
                "tenant_id": TENANT,
                "contact_id": "contact-1",
                "event_timestamp": at,
                "created_timestamp": at,
                "read_90d": read_90d,
            }

        add_rows(warehouse, "features.contact_messaging_daily", [snapshot(-1, 4.0), snapshot(1, 9.0)])
        found = _engagement(warehouse).frame
        assert found.filter(pl.col("contact_id") == "contact-1")["read_90d"].to_list() == [4.0]

    def test_offers_the_campaigns_attributes_to_the_model(self, warehouse: DuckDBWarehouse) -> None:
        dataset = _engagement(warehouse)
        position = [given.name for given in dataset.inputs].index("campaign.offer_type=gift")
        assert dataset.matrix()[:, position].tolist() == [1.0, 1.0]

    def test_too_few_labels_is_said(self, warehouse: DuckDBWarehouse) -> None:
        with pytest.raises(TooFewLabels) as caught:
            build_dataset(warehouse, TENANT, "engagement", START + timedelta(days=30), MODEL_INPUTS)
        assert (caught.value.positives, caught.value.negatives, caught.value.required) == (1, 1, 50)

    def test_digest_follows_the_content(self, warehouse: DuckDBWarehouse) -> None:
        before = _engagement(warehouse).digest
        assert _engagement(warehouse).digest == before
        add_rows(warehouse, "marts.fct_sends", [send(3)])
        assert _engagement(warehouse).digest != before

    def test_sampling_keeps_whole_people(self, warehouse: DuckDBWarehouse) -> None:
        add_rows(
            warehouse,
            "marts.fct_sends",
            [
                send(number, message_id=f"m-{number}-{wave}", sent_at=START + timedelta(days=wave))
                for number in range(10, 60)
                for wave in range(4)
            ],
        )
        spine = model_named("engagement").build_spine(warehouse, TENANT, START + timedelta(days=40), 100).frame
        assert 40 <= spine.height <= 160
        repeated = spine.filter(pl.col("message_id").str.starts_with("m-")).group_by("contact_id").len()
        assert set(repeated["len"]) == {4}


class TestLeadSpine:
    def test_leaves_out_a_campaign_that_cannot_convert(self) -> None:
        sends = pl.DataFrame(
            {"campaign_id": ["offer"] * 100 + ["news"] * 40 + ["small"] * 10, "label": [1, 0] * 50 + [0] * 50}
        )
        # At one in two, 20 conversions of 40 sends were due; none of 10 is still no proof.
        kept = lead_scoring.without_campaigns_that_cannot_convert(sends)
        assert set(kept["campaign_id"]) == {"offer", "small"}

    def test_keeps_all_when_nothing_ever_converted(self) -> None:
        sends = pl.DataFrame({"campaign_id": ["a"] * 5, "label": [0] * 5})
        assert lead_scoring.without_campaigns_that_cannot_convert(sends).height == 5


class TestChurnSpine:
    def test_one_row_per_active_contact_and_settled_week(self, warehouse: DuckDBWarehouse) -> None:
        def sign(contact: str, day: int) -> dict[str, object]:
            return {"tenant_id": TENANT, "contact_id": contact, "activity_date": date(2026, 1, 1) + timedelta(days=day)}

        add_rows(warehouse, "marts.fct_contact_days", [sign("stays", day) for day in range(0, 80, 10)])
        add_rows(warehouse, "marts.fct_contact_days", [sign("leaves", 0), sign("leaves", 20)])
        now = START.replace(month=3, day=26, hour=9)  # day 84: spine dates are days 28 to 56
        found = churn.build_spine(warehouse, TENANT, now, 10_000).frame
        day = (pl.col("event_timestamp") - datetime(2026, 1, 1, tzinfo=UTC)).dt.total_days()
        found = found.with_columns(day=day)
        days = {str(contact): rows["day"].to_list() for (contact,), rows in found.group_by("contact_id")}
        assert set(np.diff(days["stays"])) == set(np.diff(days["leaves"])) == {7}
        assert days["stays"][0] < 35 <= 49 < days["stays"][-1] <= 56
        assert days["leaves"][0] < 35 <= 41 < days["leaves"][-1] <= 48  # silent since day 20: not active on day 49
        assert dict(found.select("contact_id", "label").unique().iter_rows()) == {"stays": 0, "leaves": 1}
        assert (found["label_known_at"] <= now).all()
        # The second outcome is that of the next 28 days, known for the first date alone.
        later = found.filter(pl.col("later_label").is_not_null())
        assert later["day"].to_list() == [28] * later.height
        assert (
            dict(found.filter(pl.col("day") == 28).select("contact_id", "later_label").iter_rows()).items()
            <= {
                "stays": 0,
                "leaves": 1,
            }.items()
        )

    @pytest.mark.parametrize(("day_before_fourteen_weeks", "weekdays_seen"), [(1, 1), (0, 7)])
    def test_every_weekday_is_learnt_from_once_there_are_fourteen_weeks(
        self, warehouse: DuckDBWarehouse, day_before_fourteen_weeks: int, weekdays_seen: int
    ) -> None:
        days = [date(2026, 1, 1) + timedelta(days=day) for day in range(100)]
        signs = [{"tenant_id": TENANT, "contact_id": f"c{n}", "activity_date": day} for n in range(40) for day in days]
        with warehouse.connect(read_only=False) as connection:
            connection.register("given", pl.DataFrame(signs).to_arrow())
            connection.execute("insert into marts.fct_contact_days by name select * from given")
        # The last date of which a day's signs are in is ninety-seven days after the first sign.
        now = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=97 - day_before_fourteen_weeks)
        found = churn.build_spine(warehouse, TENANT, now, 10_000).frame
        weekdays = found.select("contact_id", pl.col("event_timestamp").dt.weekday()).unique()
        assert weekdays["contact_id"].n_unique() == weekdays.height == 40
        assert weekdays["event_timestamp"].n_unique() == weekdays_seen

    def test_a_tenant_may_set_longer_windows(self, warehouse: DuckDBWarehouse) -> None:
        for contact, days in (("stays", (0, 130)), ("late", (5, 175)), ("gone", (39, 41))):
            for day in days:
                row = {"activity_date": date(2026, 1, 1) + timedelta(days=day), "contact_id": contact}
                add_rows(warehouse, "marts.fct_contact_days", [{"tenant_id": TENANT} | row])
        windows = churn.Windows.from_settings({"active_days": 100, "horizon_days": 60})
        now = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=165)  # the only dates are days 105
        spine = churn.with_windows(windows).build_spine(warehouse, TENANT, now, 10_000).frame
        assert dict(zip(spine["contact_id"], spine["label"], strict=True)) == {"late": 1, "gone": 1}
        assert (spine["label_known_at"] - spine["event_timestamp"]).unique().to_list() == [timedelta(days=60)]
        assert "60 days" in churn.with_windows(windows).label

    @pytest.mark.parametrize("given", [{"active_days": 0}, {"horizon_days": 2.5}, {"active_days": True}, {"weeks": 4}])
    def test_refuses_windows_that_are_none(self, given: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=next(iter(given))):
            churn.Windows.from_settings(given)

    def test_a_young_tenant_has_no_settled_week(self, warehouse: DuckDBWarehouse) -> None:
        row = {"tenant_id": TENANT, "contact_id": "a", "activity_date": date(2026, 1, 5)}
        add_rows(warehouse, "marts.fct_contact_days", [row])
        assert churn.build_spine(warehouse, TENANT, START + timedelta(days=55), 100).frame.is_empty()


class TestSplitAt:
    def test_learns_only_from_labels_settled_by_the_cutoff(self) -> None:
        dataset, _ = synthetic_dataset("engagement", 300, 8, seed=1, start=START)
        cutoff = START + timedelta(weeks=5)
        split = split_at(dataset, cutoff)
        assert split.fit.frame["label_known_at"].max() <= cutoff
        assert split.calibrate.frame["label_known_at"].max() <= cutoff
        assert split.fit.frame["event_timestamp"].max() < split.calibrate.frame["event_timestamp"].min()
        assert split.test.frame["event_timestamp"].min() >= cutoff
        open_then = (pl.col("event_timestamp") < cutoff) & (pl.col("label_known_at") > cutoff)
        left_out = dataset.frame.filter(open_then).height
        parts = (split.fit, split.calibrate, split.test)
        assert left_out > 250
        assert sum(part.frame.height for part in parts) == dataset.frame.height - left_out

    def test_an_empty_side_is_an_error(self) -> None:
        dataset, _ = synthetic_dataset("engagement", 50, 3, seed=1, start=START)
        with pytest.raises(EmptySplit):
            split_at(dataset, START + timedelta(weeks=50))

    def test_by_time_finds_a_cutoff_for_about_a_quarter(self) -> None:
        dataset, _ = synthetic_dataset("engagement", 300, 8, seed=1, start=START)
        assert 0.2 <= split_by_time(dataset).test.frame.height / dataset.frame.height <= 0.3


class TestSplitPeople:
    def test_nobody_is_on_both_sides(self) -> None:
        dataset, _ = synthetic_dataset("engagement", 200, 4, seed=1, start=START)
        split = split_people(dataset, seed=7)
        seen = set(split.fit.frame["contact_id"]) | set(split.calibrate.frame["contact_id"])
        unseen = set(split.test.frame["contact_id"])
        assert not seen & unseen
        assert len(unseen) == 60

    def test_the_seed_chooses_them(self) -> None:
        dataset, _ = synthetic_dataset("engagement", 200, 4, seed=1, start=START)
        first, again, other = (set(split_people(dataset, seed=seed).test.frame["contact_id"]) for seed in (7, 7, 8))
        assert first == again != other
        assert np.isclose(len(first), len(other))


class TestSplitFolds:
    def test_everybody_is_a_stranger_exactly_once(self) -> None:
        dataset, _ = synthetic_dataset("engagement", 200, 4, seed=1, start=START)
        folds = list(split_folds(dataset, seed=7))
        strangers = [set(split.test.frame["contact_id"]) for split in folds]
        assert sum(len(people) for people in strangers) == len(set().union(*strangers)) == 200
        for split, people in zip(folds, strangers, strict=True):
            assert people.isdisjoint(split.fit.frame["contact_id"])
            assert people.isdisjoint(split.calibrate.frame["contact_id"])
            assert split.fit.frame.height + split.calibrate.frame.height + split.test.frame.height == 800
