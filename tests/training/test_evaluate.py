"""What is said of a model: by segment, in money, and whether the gate lets it speak."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from tests.training.conftest import START
from training import metrics
from training.evaluate import Costs, Evaluation, evaluate
from training.metrics import Interval
from training.promote import judge
from training.train import train


@pytest.fixture(scope="module")
def split(split_of):
    """Half the people became known four weeks after the first row, half two years before it."""
    made = split_of("engagement")

    def known(part):
        since = pl.when(pl.col("contact_id").hash() % 2 == 0).then(-28).otherwise(730)
        start = pl.lit(START).cast(pl.Datetime("us", "UTC"))
        return replace(part, frame=part.frame.with_columns((start - pl.duration(days=since)).alias("first_known_at")))

    return replace(made, **{side: known(getattr(made, side)) for side in ("fit", "calibrate", "test")})


@pytest.fixture(scope="module")
def evaluation(split) -> Evaluation:
    return evaluate(train(split, seed=3, now=START), split, seed=3, costs=Costs(message_cents=6, outcome_cents=20))


class TestEvaluate:
    def test_new_and_old_contacts_are_judged_apart(self, split, evaluation: Evaluation) -> None:
        tenure = split.test.frame["event_timestamp"] - split.test.frame["first_known_at"]
        new = int((tenure < timedelta(days=30)).sum())
        rows = {segment.name: segment.rows for segment in evaluation.segments}
        assert rows == {"new_contacts": new, "old_contacts": evaluation.rows - new}

    def test_the_profit_is_that_of_the_messages_worth_sending(self, evaluation: Evaluation) -> None:
        assert evaluation.profit is not None
        worth = evaluation.probabilities * 20 > 6
        earned = (evaluation.labels[worth].sum() * 20 - worth.sum() * 6) * 1000 / evaluation.rows
        assert evaluation.profit.chosen.value == pytest.approx(earned)
        assert evaluation.profit.everyone == pytest.approx(1000 * (evaluation.base_rate * 20 - 6))
        assert evaluation.profit.chosen.value > evaluation.profit.everyone
        assert evaluation.figures()["profit_cents_per_1000"] == pytest.approx(earned)

    @pytest.mark.parametrize("name", ["auc", "average_precision", "brier", "calibration_error"])
    def test_every_figure_has_an_interval(self, evaluation: Evaluation, name: str) -> None:
        found: Interval = getattr(evaluation, name)
        assert found.lower < found.upper
        assert np.isfinite([found.lower, found.value, found.upper]).all()

    def test_the_figures_of_every_decile_have_intervals(self, evaluation: Evaluation) -> None:
        for name in ("rate", "lift", "gain"):
            for decile in evaluation.deciles[:-1]:
                lower, value, upper = (getattr(decile, f"{name}{end}") for end in ("_lower", "", "_upper"))
                assert lower < value < upper
        assert evaluation.deciles[-1].gain_lower == evaluation.deciles[-1].gain_upper == 1
        figures = evaluation.figures()
        assert figures["top_decile_lift_lower"] < figures["top_decile_lift"] < figures["top_decile_lift_upper"]
        assert figures["profit_cents_per_1000_lower"] < figures["profit_cents_per_1000"]

    def test_without_costs_no_profit_is_claimed(self, split) -> None:
        found = evaluate(train(split, seed=3, now=START), split, seed=3)
        assert found.profit is None
        assert "profit_cents_per_1000" not in found.figures()


class TestJudge:
    def test_a_first_model_that_beats_the_rule_is_promoted(self, split, evaluation: Evaluation) -> None:
        verdict = judge(evaluation, split.test, None, seed=1)
        assert (verdict.promote, verdict.against) == (True, "rule")

    def test_a_lead_within_chance_is_not_enough(self, split, evaluation: Evaluation) -> None:
        verdict = judge(evaluation, split.test, None, seed=1, min_gain=evaluation.gain_over_rule.value)
        assert not verdict.promote
        assert "beyond chance" in verdict.reason

    def test_probabilities_that_mean_something_else_are_kept_back(self, split, evaluation: Evaluation) -> None:
        off = replace(evaluation, calibration_error=Interval(0.2, 0.19, 0.21))
        verdict = judge(off, split.test, None, seed=1)
        assert not verdict.promote
        assert "more than chance" in verdict.reason

    def test_a_champion_is_not_judged_by_what_it_learnt_from(self, split, evaluation: Evaluation) -> None:
        days = split.test.frame["event_timestamp"].dt.date()
        learnt = (days == days.min()).to_numpy()
        by_heart = np.where(learnt, evaluation.labels, 0.5)

        class Champion:
            version, inputs = "1", split.fit.inputs
            card = {"learnt": ["2026-01-05", str(days.min())]}

            def probability(self, matrix):
                return by_heart[-len(matrix) :]

        assert by_heart[learnt].sum() > 100
        verdict = judge(evaluation, split.test, Champion(), seed=1)
        assert (verdict.promote, verdict.against) == (True, "version 1")
        # 0.5 for everybody is an AUC of a half.
        assert verdict.gain.value == pytest.approx(
            metrics.auc(evaluation.labels[~learnt], evaluation.probabilities[~learnt]) - 0.5
        )
