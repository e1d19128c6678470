"""The same people once more raise no alarm; other people do, and the same number of them tells how sure that is."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from feature_store.feature_services import FEATURE_SERVICES, HABITS
from feature_store.transforms import encode, fit_inputs
from training.datasets import Dataset, Split, split_by_time, split_people
from training.drift import Drift, Periods, chance, drift_of
from training.synthetic import CAMPAIGNS, synthetic_dataset
from training.train import train

START = datetime(2026, 1, 5, tzinfo=UTC)
LATER = START + timedelta(weeks=9)


@pytest.fixture(scope="module")
def engagement(split_of: Callable[[str], Split]) -> Callable[[pl.DataFrame], Drift]:
    """How far rows have moved from those learnt from by the model that looks at people, campaigns and the clock."""
    split = split_of("engagement")
    trained = train(split, seed=1, now=START)

    def judged(lately: pl.DataFrame) -> Drift:
        periods = Periods(split.fit.frame, split.calibrate.frame, lately)
        found = drift_of(trained.inputs, trained.probability, START, periods, periods)
        assert found is not None
        return found

    return judged


def drawn(people: int, seed: int) -> pl.DataFrame:
    return synthetic_dataset("engagement", people, 2, seed=seed, start=LATER)[0].frame


class TestDriftOf:
    def test_other_people_of_the_same_kind_raise_no_alarm(self, engagement) -> None:
        found = [engagement(drawn(people, seed)) for seed, people in enumerate((30, 100, 300, 1_000), start=100)]
        assert [drift.drifted for drift in found] == [False] * 4
        # Fewer people vary more, and are allowed to.
        limits = [drift.score.limit for drift in found if drift.score]
        assert limits == sorted(limits, reverse=True)
        assert [drift.people for drift in found] == [60, 200, 600, 2_000]

    def test_people_who_read_less_do(self, engagement) -> None:
        rows = drawn(300, 5).with_columns(pl.col("read_7d", "read_90d", "read_rate_90d") * 0.3)
        drift = engagement(rows)
        assert [moved.name for moved in drift.drifted_inputs] == ["read_7d"]
        assert drift.score.drifted
        assert sum(drift.score.shares) == pytest.approx(1)

    def test_a_window_that_was_still_filling_is_not_judged(self, engagement) -> None:
        names = {moved.name for moved in engagement(drawn(300, 5)).inputs}
        # It learnt from six weeks.
        assert {"read_7d", "sent_7d", "contact.age", "send_hour_sin"} <= names
        assert not {"read_90d", "read_rate_90d", "preferred_hour_share", "days_since_last_read"} & names

    def test_one_campaign_alone_tells_nothing_of_campaigns(self, engagement) -> None:
        # Everybody is sent the same at the same hour: what three hundred rows share is one decision.
        campaign = {"campaign_id": pl.lit("c9"), "campaign_attributes": pl.lit(json.dumps(CAMPAIGNS[2]))}
        hour = pl.lit(LATER).cast(pl.Datetime("us", "UTC"))
        sends = drawn(300, 6).with_columns(event_timestamp=hour, **campaign)
        drift = engagement(sends)
        assert not drift.drifted_inputs
        moved = {moved.name: moved for moved in drift.inputs}
        assert moved["send_hour_sin"].stability > 1 > moved["read_7d"].limit
        assert (moved["send_hour_sin"].units, moved["read_7d"].units) == (1, 300)

    def test_age_alone_is_no_drift(self, engagement) -> None:
        rows = drawn(300, 7).with_columns(pl.col("first_known_at") - timedelta(days=500), pl.col("sent_total") * 9)
        assert not engagement(rows).drifted

    def test_who_was_sent_something_may_be_others_than_those_asked_about(self, split_of) -> None:
        split = split_of("engagement")
        trained = train(split, seed=1, now=START)
        everybody = drawn(300, 9)
        told = pl.Series(trained.probability(encode(everybody, list(trained.inputs))))
        chosen = everybody.filter(told > told.quantile(0.8))
        older, newer = split.fit.frame, split.calibrate.frame

        def judged(people: pl.DataFrame) -> Drift | None:
            given = Periods(older, newer, people), Periods(older, newer, chosen)
            return drift_of(trained.inputs, trained.probability, START, *given)

        assert judged(chosen).drifted
        assert not judged(everybody).drifted

    def test_nobody_is_no_answer(self, split_of) -> None:
        split = split_of("engagement")
        periods = Periods(split.fit.frame, split.calibrate.frame, split.test.frame.clear())
        assert drift_of(split.fit.inputs, lambda matrix: matrix[:, 0], START, periods) is None

    def test_too_few_people_before_it_was_made_say_nothing(self, split_of) -> None:
        split = split_of("engagement")
        few = Periods(split.fit.frame.head(99), split.calibrate.frame, split.test.frame)
        drift = drift_of(split.fit.inputs, lambda matrix: matrix[:, 0], START, few)
        assert (drift.inputs, drift.score, drift.drifted) == ([], None, False)


class TestChance:
    @pytest.mark.parametrize("people", [200, 2_000])
    def test_two_samples_of_one_distribution_exceed_it_as_often_as_said(self, people: int) -> None:
        from feature_store.drift import fit_bins, population_stability

        rng = np.random.default_rng(3)
        stabilities = [
            population_stability(fit_bins(rng.normal(size=people)), rng.normal(size=people)) for _ in range(1_000)
        ]
        exceeded = np.mean(np.array(stabilities) > chance(9, people, people, 0.05))
        # 5 % are 50 of 1,000, give or take 7.
        assert 0.03 <= exceeded <= 0.075


@pytest.fixture(scope="module")
def calls(shared_data: Path) -> Dataset:
    """Every fourth call of a bank's campaigns in their order, May 2008 to November 2010, as custom attributes; without
    how long it took, which nobody knew before."""
    table = pl.read_csv(shared_data / "bank_marketing" / "bank-additional-full.csv.gz").gather_every(4)
    known = table.drop("row", "duration", "month", "day_of_week", "y").rename(lambda name: name.replace(".", "_"))
    moment = [START + timedelta(minutes=number) for number in range(table.height)]
    at = pl.Series(moment, dtype=pl.Datetime("us", "UTC"))
    service = FEATURE_SERVICES["lead_scoring_v1"]
    stored = {name for _, names in service.views() for name in names}
    frame = pl.DataFrame(
        {name: at if name.endswith("_at") else pl.repeat(0.0, table.height, eager=True) for name in sorted(stored)}
        | {
            "contact_id": table["row"].cast(pl.String),
            "event_timestamp": at,
            "label_known_at": at,
            "campaign_id": pl.repeat("c1", table.height, eager=True),
            "campaign_attributes": pl.repeat("{}", table.height, eager=True),
            "contact_attributes": [json.dumps(row) for row in known.iter_rows(named=True)],
            "tenant_timezone": pl.repeat("UTC", table.height, eager=True),
            "label": (table["y"] == "yes").cast(pl.Int8),
        }
    )
    kinds = {name: "category" if kind == pl.String else "number" for name, kind in known.schema.items()}
    inputs = fit_inputs(frame, service, {"contact": kinds})
    return Dataset("lead_scoring", "bank", frame, inputs, service.name, "calls")


class TestACrisis:
    """The economy turned while the bank called: what held in 2008 did not in 2010."""

    @pytest.mark.parametrize(("by_time", "alarm"), [(True, True), (False, False)])
    def test_the_years_after_it_raise_the_alarm_and_people_of_all_years_do_not(
        self, calls: Dataset, by_time: bool, alarm: bool
    ) -> None:
        split = split_by_time(calls) if by_time else split_people(calls, seed=1)
        trained = train(split, {"n_estimators": 30}, seed=1, now=START)
        drift = drift_of(trained.inputs, trained.probability, START, periods_of(split, by_time))
        assert drift.drifted is alarm
        if alarm:
            assert "contact.euribor3m" in {moved.name for moved in drift.drifted_inputs}

    def test_habits_of_a_whole_life_are_not_judged(self, calls: Dataset) -> None:
        # An hour apart instead of a minute, so that even the longest windows are full.
        moment = START + (pl.col("event_timestamp") - START) * 60
        split = split_people(replace(calls, frame=calls.frame.with_columns(event_timestamp=moment)), seed=1)
        trained = train(split, {"n_estimators": 5}, seed=1, now=START)
        drift = drift_of(trained.inputs, trained.probability, START, periods_of(split, by_time=False))
        names = {moved.name for moved in drift.inputs}
        assert "campaign_read_rate_90d" in names
        assert not set(HABITS) & names


def periods_of(split: Split, by_time: bool) -> Periods:
    """The calls learnt from in their order, or in two halves by lot, and those never seen."""
    if by_time:
        return Periods(split.fit.frame, split.calibrate.frame, split.test.frame)
    learnt = split.learn.frame
    half = learnt["contact_id"].hash(seed=3) % 2 == 0
    return Periods(learnt.filter(half), learnt.filter(~half), split.test.frame)
