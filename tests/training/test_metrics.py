"""Each figure against a table worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from training import metrics

# Six rows, best score first; positives are rows 1, 2 and 4.
LABELS = [1, 1, 0, 1, 0, 0]
SCORES = [0.9, 0.8, 0.7, 0.6, 0.4, 0.1]


class TestAuc:
    def test_counts_the_pairs_in_the_right_order(self) -> None:
        # Nine pairs; only (row 4, row 3) is the wrong way round.
        assert metrics.auc(LABELS, SCORES) == pytest.approx(8 / 9)

    def test_a_tie_counts_half(self) -> None:
        # Pairs of (0.5, 0.9) with (0.5, 0.1): half, one, one, one.
        assert metrics.auc([1, 0, 1, 0], [0.5, 0.5, 0.9, 0.1]) == pytest.approx(3.5 / 4)

    def test_one_class_has_none(self) -> None:
        assert np.isnan(metrics.auc([1, 1], [0.2, 0.3]))

    def test_agrees_with_scikit_learn_on_many_rows(self) -> None:
        from sklearn.metrics import average_precision_score, roc_auc_score

        rng = np.random.default_rng(0)
        labels = rng.integers(0, 2, 3_000)
        scores = np.round(rng.random(3_000) + 0.2 * labels, 2)
        assert metrics.auc(labels, scores) == pytest.approx(roc_auc_score(labels, scores))
        assert metrics.average_precision(labels, scores) == pytest.approx(average_precision_score(labels, scores))


class TestClaimedAuc:
    def test_by_hand(self) -> None:
        # Of two rows, the better one is the positive with 0.8 x 0.5, the other with 0.2 x 0.5.
        assert metrics.claimed_auc([0.8, 0.5]) == pytest.approx(0.4 / (0.4 + 0.1))

    def test_outcomes_drawn_so_have_it_on_average(self) -> None:
        rng = np.random.default_rng(1)
        told = np.round(rng.beta(1, 3, 2_000), 2)
        seen = [metrics.auc(rng.random(2_000) < told, told) for _ in range(100)]
        assert metrics.claimed_auc(told) == pytest.approx(np.mean(seen), abs=4 * np.std(seen) / 10)

    def test_one_probability_tells_nobody_apart(self) -> None:
        assert metrics.claimed_auc([0.3] * 50) == pytest.approx(0.5)

    @pytest.mark.parametrize("told", [[1.0, 1.0], [0.0], [0.4]])
    def test_without_a_pair_nothing_is_claimed(self, told: list[float]) -> None:
        assert metrics.claimed_auc(told) == 0.5


class TestAveragePrecision:
    def test_means_precision_at_each_positive(self) -> None:
        assert metrics.average_precision(LABELS, SCORES) == pytest.approx((1 / 1 + 2 / 2 + 3 / 4) / 3)


class TestBrier:
    def test_is_the_mean_squared_distance(self) -> None:
        assert metrics.brier(LABELS, SCORES) == pytest.approx((0.01 + 0.04 + 0.49 + 0.16 + 0.16 + 0.01) / 6)


class TestCalibrationError:
    def test_means_the_distance_of_promise_and_rate_by_group(self) -> None:
        # Three groups of two by rising score: (0.25, 0), (0.65, 0.5), (0.85, 1).
        assert metrics.calibration_error(LABELS, SCORES, bins=3) == pytest.approx((0.25 + 0.15 + 0.15) / 3)


class TestCalibrationNoise:
    def test_is_what_perfect_probabilities_show(self) -> None:
        rng = np.random.default_rng(4)
        probabilities = rng.random(800)
        seen = [metrics.calibration_error(rng.random(800) < probabilities, probabilities) for _ in range(200)]
        assert metrics.calibration_noise(probabilities) == pytest.approx(np.mean(seen), rel=0.05)


class TestDeciles:
    def test_lift_is_rate_over_the_overall_rate(self) -> None:
        labels = [1] * 10 + [0] * 10
        rows = metrics.deciles(labels, np.linspace(1, 0, 20))
        assert [row.rows for row in rows] == [2] * 10
        assert rows[0].lift == pytest.approx(2.0)
        assert rows[9].lift == 0.0
        assert [row.gain for row in rows] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0])


class TestDifferenceInterval:
    def test_reproduces_newcombes_published_example(self) -> None:
        # Newcombe (1998), table II, case (a): 56/70 against 48/80, method 10.
        found = metrics.difference_interval(56, 70, 48, 80)
        assert found.value == pytest.approx(0.2)
        assert (found.lower, found.upper) == (pytest.approx(0.0524, abs=5e-5), pytest.approx(0.3339, abs=5e-5))

    def test_holds_for_arms_without_success(self) -> None:
        # Case (h) of the same table: 0/10 against 0/10.
        found = metrics.difference_interval(0, 10, 0, 10)
        assert (found.lower, found.upper) == (pytest.approx(-0.2775, abs=5e-5), pytest.approx(0.2775, abs=5e-5))

    def test_an_empty_arm_is_refused(self) -> None:
        with pytest.raises(ValueError, match="at least one member"):
            metrics.difference_interval(1, 10, 0, 0)


class TestExpectedProfit:
    def test_messages_only_who_is_worth_it(self) -> None:
        # At 100 cents a conversion and 65 a message rows 1, 2 and 3 are messaged; two of them convert.
        assert metrics.expected_profit(SCORES, 100, 65, LABELS) == pytest.approx(2 * 100 - 3 * 65)

    def test_without_labels_is_what_the_probabilities_promise(self) -> None:
        assert metrics.expected_profit(SCORES, 100, 65) == pytest.approx(240 - 195)


class TestRocPoints:
    def test_run_from_corner_to_corner(self) -> None:
        false, true = metrics.roc_points(LABELS, SCORES)
        assert (false[0], true[0], false[-1], true[-1]) == (0.0, 0.0, 1.0, 1.0)
        assert np.all(np.diff(true) >= 0)
