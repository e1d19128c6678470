from __future__ import annotations

import math

import numpy as np
import pytest

from feature_store.drift import LARGE, NOTICEABLE, Bins, fit_bins, population_stability

NAN = float("nan")


class TestFitBins:
    def test_few_distinct_values_get_a_bin_each(self):
        assert fit_bins(np.array([3, 0, 0, 1, NAN])) == Bins((0.5, 2.0), (0.4, 0.2, 0.2), 0.2)

    def test_many_get_bins_of_about_equal_shares(self):
        bins = fit_bins(np.random.default_rng(1).lognormal(size=10_000))

        assert len(bins.shares) == 10
        assert bins.shares == pytest.approx([0.1] * 10, abs=1e-3)

    def test_a_value_that_most_have_does_not_split(self):
        values = np.r_[np.zeros(900), np.arange(1, 101)]

        bins = fit_bins(values)

        assert bins.edges[0] == 0
        assert bins.shares[0] == 0.9
        assert sum(bins.shares) == pytest.approx(1)

    def test_nothing_known_is_one_empty_bin(self):
        assert fit_bins(np.array([NAN, NAN])) == Bins((), (0.0,), 1.0)

    def test_one_value_is_one_bin(self):
        assert fit_bins(np.array([7.0, 7.0], np.float32)) == Bins((), (1.0,), 0.0)

    def test_no_rows_are_refused(self):
        with pytest.raises(ValueError, match="no value"):
            fit_bins(np.array([]))


class TestPopulationStability:
    def test_by_hand(self):
        reference = fit_bins(np.array([0, 0, 1, 1]))

        found = population_stability(reference, np.array([0, 1, 1, 1]))

        assert found == pytest.approx((0.5 - 0.25) * math.log(2) + (0.75 - 0.5) * math.log(1.5))

    def test_the_same_values_have_not_moved(self):
        values = np.random.default_rng(1).normal(size=5_000)

        assert population_stability(fit_bins(values), values[::-1]) == pytest.approx(0)

    def test_another_sample_of_the_same_people_has_hardly_moved(self):
        chance = np.random.default_rng(1)

        found = population_stability(fit_bins(chance.normal(size=5_000)), chance.normal(size=5_000))

        assert 0 < found < NOTICEABLE / 5

    def test_a_shift_of_one_deviation_is_large(self):
        chance = np.random.default_rng(1)

        found = population_stability(fit_bins(chance.normal(size=5_000)), chance.normal(1, size=5_000))

        assert found > LARGE

    def test_values_that_went_missing_count(self):
        values = np.arange(100.0)

        assert population_stability(fit_bins(values), np.where(values < 50, NAN, values)) > LARGE

    def test_a_bin_nobody_is_in_any_more_is_finite(self):
        # Shares of 0 count as 1e-4 on either side.
        expected = (1 - 1e-4) * math.log(1 / 1e-4) * 2

        assert population_stability(fit_bins(np.array([1.0])), np.array([NAN])) == pytest.approx(expected)
