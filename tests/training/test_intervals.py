"""Intervals of people's own probabilities, beside people whose own probability is known."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from tests.training.conftest import START
from training.bundle import export_checked, make_manifest, write_bundle
from training.datasets import split_by_time
from training.evaluate import evaluate
from training.intervals import LEVEL, fit_intervals
from training.synthetic import synthetic_dataset
from training.train import halves, later_labels, train


def people(rows: int, gone: float, concentration: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(score, own probability): of each score some have left for good, the others differ around a common mean."""
    rng = np.random.default_rng(seed)
    score = rng.uniform(0.2, 0.7, rows)
    mean = score / (1 - gone)
    own = np.where(
        rng.random(rows) < gone, 0.0, rng.beta(mean * concentration, np.maximum(1 - mean, 1e-3) * concentration)
    )
    return score, own


def outcomes(own: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return (rng.random((2, len(own))) < own).astype(float)


class TestFitIntervals:
    @pytest.mark.parametrize(("gone", "concentration"), [(0.0, 5.0), (0.1, 10.0), (0.2, 8.0), (0.25, 20.0)])
    def test_hold_the_own_probability_of_as_many_as_promised(self, gone: float, concentration: float) -> None:
        score, own = people(40_000, gone, concentration, seed=1)
        table = fit_intervals(score, *outcomes(own, seed=2))
        assert table is not None
        low, high = table.apply(score)
        covered = np.mean((low <= own) & (own <= high))
        assert 0.85 <= covered <= 0.95
        assert table.level == LEVEL

    def test_are_wider_where_people_of_one_score_differ_more(self) -> None:
        widths = []
        for concentration in (40.0, 8.0, 2.0):
            score, own = people(20_000, 0.0, concentration, seed=3)
            table = fit_intervals(score, *outcomes(own, seed=4))
            assert table is not None
            widths.append(float(np.mean(np.subtract(*table.apply(score)[::-1]))))
        assert widths[0] < 0.7 * widths[1] < 0.7 * widths[2]

    def test_hold_the_score_and_rise_with_it(self) -> None:
        score, own = people(20_000, 0.2, 6.0, seed=5)
        table = fit_intervals(score, *outcomes(own, seed=6))
        assert table is not None
        at = np.linspace(0, 1, 400)
        low, high = table.apply(at)
        assert np.all((low <= at + 1e-9) & (at <= high + 1e-9))
        assert np.all(np.diff(low) >= 0)
        assert np.all(np.diff(high) >= 0)
        assert low.min() >= 0
        assert high.max() <= 1

    def test_are_not_made_up_from_too_few_pairs(self) -> None:
        score, own = people(20_000, 0.2, 6.0, seed=7)
        first, later = outcomes(own, seed=8)
        lonely = later.copy()
        lonely[600:] = np.nan
        assert fit_intervals(score, first, later) is not None
        assert fit_intervals(score, first, lonely) is None
        assert fit_intervals(score, first, np.full(len(own), np.nan)) is None


class TestLearntIntervals:
    def test_cover_people_who_differ_in_what_no_column_shows(self) -> None:
        dataset, truth = synthetic_dataset("engagement", 1_500, 10, seed=21, start=START, hidden=1.2)
        split = split_by_time(dataset)
        found = evaluate(train(split, seed=1, now=START), split, seed=1, truth=truth)
        assert found.coverage is not None
        assert 0.85 <= found.coverage.share <= 0.95
        assert found.figures()["interval_coverage"] == found.coverage.share
        alike, known = synthetic_dataset("engagement", 1_500, 10, seed=21, start=START)
        narrow = split_by_time(alike)
        told = evaluate(train(narrow, seed=1, now=START), narrow, seed=1, truth=known).coverage
        assert told is not None
        assert told.width < 0.6 * found.coverage.width

    def test_are_learnt_without_outcomes_open_at_the_cutoff(self) -> None:
        split = split_by_time(synthetic_dataset("engagement", 200, 10, seed=2, start=START)[0])
        frame = split.learn.frame
        later = later_labels(split.learn)
        cutoff = frame["label_known_at"].max()
        is_open = (frame["later_known_at"] > cutoff).fill_null(True).to_numpy()
        assert is_open.any()
        assert np.array_equal(np.isnan(later), is_open)

    def test_travel_in_the_manifest(self, split_of, tmp_path) -> None:
        split = split_of("engagement")
        trained = train(split, seed=1, now=START)
        assert trained.intervals is not None
        graph, _ = export_checked(trained, split.test)
        bundle = write_bundle(tmp_path, graph, make_manifest(trained, "1", split), {})
        told = json.loads((bundle.path / "manifest.json").read_text())["interval"]
        assert told["level"] == 0.9
        assert len(told["at"]) == len(told["low"]) == len(told["high"])
        assert told["at"] == sorted(told["at"])
        assert bundle.intervals == trained.intervals


class TestHalves:
    def test_keep_a_contact_whole_and_positives_on_both_sides(self) -> None:
        contacts = [f"c{number % 7}" for number in range(70)]
        labels = [1 if contact in ("c1", "c4") else 0 for contact in contacts]
        half = halves(pl.DataFrame({"contact_id": contacts, "label": labels}))
        sides = {contact: set(half[[one == contact for one in contacts]].tolist()) for contact in contacts}
        assert all(len(side) == 1 for side in sides.values())
        assert sides["c1"] != sides["c4"]
