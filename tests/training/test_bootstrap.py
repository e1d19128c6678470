"""A figure counted is the figure of the rows repeated, and its interval holds it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from training import bootstrap, metrics
from training.metrics import Counted

LABELS = [1, 1, 0, 1, 0, 0] * 20
SCORES = [0.9, 0.8, 0.7, 0.6, 0.4, 0.1] * 20
Figure = Callable[[npt.ArrayLike, npt.ArrayLike], float]
Merit = Callable[[npt.ArrayLike, npt.ArrayLike], Counted]
FIGURES: dict[str, tuple[Figure, Merit]] = {
    "auc": (metrics.auc, metrics.auc_counted),
    "average_precision": (metrics.average_precision, metrics.average_precision_counted),
    "brier": (metrics.brier, metrics.brier_counted),
    "calibration_error": (metrics.calibration_error, metrics.calibration_error_counted),
}


class TestCounted:
    @pytest.mark.parametrize("name", FIGURES)
    @pytest.mark.parametrize("digits", [1, 9])
    def test_is_the_figure_of_rows_repeated(self, name: str, digits: int) -> None:
        figure, counted = FIGURES[name]
        rng = np.random.default_rng(3)
        scores = np.round(rng.random(503), digits)
        labels = (rng.random(503) < scores).astype(np.int8)
        counts = rng.integers(0, 4, 503)
        # By score, as a stable sort leaves rows that tie.
        drawn = np.repeat(np.argsort(scores, kind="stable"), counts[np.argsort(scores, kind="stable")])
        expected = figure(labels[drawn], scores[drawn])
        assert counted(labels, scores)(counts.astype(np.float64)) == pytest.approx(expected, abs=1e-12)

    def test_without_positives_there_is_no_auc(self) -> None:
        counts = np.array(LABELS) == 0
        assert np.isnan(metrics.auc_counted(LABELS, SCORES)(counts.astype(np.float64)))
        assert np.isnan(metrics.average_precision_counted(LABELS, SCORES)(counts.astype(np.float64)))


class TestIntervals:
    def test_hold_the_estimate_and_narrow_with_rows(self) -> None:
        rng = np.random.default_rng(1)

        def width(rows: int) -> float:
            labels = rng.integers(0, 2, rows)
            counted = metrics.auc_counted(labels, labels + rng.normal(0, 1, rows))
            found = bootstrap.interval(counted, rows, seed=2)
            assert found.lower < found.value < found.upper
            return found.upper - found.lower

        assert width(4_000) < width(200) / 2

    def test_are_those_of_rows_drawn_with_replacement(self) -> None:
        figures = {name: counted(LABELS, SCORES) for name, (_, counted) in FIGURES.items()}
        found = bootstrap.intervals(figures, len(LABELS), seed=4)
        for name, (figure, _) in FIGURES.items():
            lower, upper = np.quantile(_drawn(figure, seed=4), [0.025, 0.975])
            assert (found[name].lower, found[name].upper) == pytest.approx((lower, upper), abs=1e-12)

    def test_the_same_whether_asked_for_alone_or_with_others(self) -> None:
        alone = metrics.brier_counted(LABELS, SCORES)
        both = bootstrap.intervals({"auc": metrics.auc_counted(LABELS, SCORES), "brier": alone}, len(LABELS), seed=5)
        assert both["brier"] == bootstrap.interval(alone, len(LABELS), seed=5)


class TestAucGain:
    def test_of_a_copy_is_nothing(self) -> None:
        found = bootstrap.interval(bootstrap.auc_gain(LABELS, SCORES, SCORES), len(LABELS), seed=1)
        assert (found.value, found.lower, found.upper) == (0.0, 0.0, 0.0)


def _drawn(figure: Figure, seed: int) -> npt.NDArray[np.float64]:
    rng, labels, scores = np.random.default_rng(seed), np.array(LABELS), np.array(SCORES)
    order = np.argsort(scores, kind="stable")

    def once() -> float:
        counts = np.bincount(rng.integers(0, len(labels), len(labels)), minlength=len(labels))
        rows = np.repeat(order, counts[order])
        return figure(labels[rows], scores[rows])

    return np.array([once() for _ in range(200)])


class TestJudgedDeciles:
    def test_the_intervals_hold_what_other_rows_of_the_same_people_show(self) -> None:
        rng = np.random.default_rng(5)

        def drawn() -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float64]]:
            probabilities = rng.beta(1, 4, 4_000)
            return (rng.random(4_000) < probabilities).astype(np.int8), probabilities

        others = [metrics.deciles(*drawn()) for _ in range(200)]
        judged = [bootstrap.judged_deciles(*drawn(), seed=1) for _ in range(20)]
        for name in ("rate", "lift", "gain"):
            seen = np.mean([[getattr(decile, name) for decile in other] for other in others], axis=0)
            lower, upper = (
                np.array([[getattr(decile, f"{name}_{end}") for decile in one] for one in judged])
                for end in ("lower", "upper")
            )
            # All find everything in the end.
            assert 0.88 <= np.mean((lower <= seen) & (seen <= upper), where=np.arange(10) < 9) <= 0.99

    def test_the_positives_found_are_those_of_the_rows_repeated(self) -> None:
        labels, scores = np.array(LABELS), np.linspace(1, 0, len(LABELS))
        counts = np.random.default_rng(3).integers(0, 4, len(labels))
        drawn = np.repeat(labels, counts)
        found = metrics.found_counted(labels, scores)(counts.astype(np.float64))
        whole = np.interp(np.arange(1, 11) * len(drawn) / 10, np.arange(len(drawn) + 1), np.r_[0, np.cumsum(drawn)])
        assert found == pytest.approx(whole)
