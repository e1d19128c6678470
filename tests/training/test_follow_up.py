"""What a champion promised is held against labels that settled after it had learnt."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pytest

from tests.training.conftest import START, TENANT, add_rows, campaign, send
from training.errors import TooFewLabels
from training.follow_up import matured, performance, recent, rows_since

CARD: dict[str, Any] = {
    "model": "engagement",
    "figures": {"auc": 0.80, "auc_lower": 0.78, "auc_upper": 0.82, "claimed_auc": 0.80, "calibration_error": 0.01},
}


def outcomes(rows: int, *, spread: float, off: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Labels drawn with the probabilities told, or with `off` more than told."""
    rng = np.random.default_rng(4)
    told = 1 / (1 + np.exp(-rng.normal(-0.5, spread, rows)))
    return (rng.random(rows) < np.clip(told + off, 0, 1)).astype(np.int8), told


class TestPerformance:
    def test_a_promise_that_is_kept(self) -> None:
        kept = performance(CARD, *outcomes(3_000, spread=1.45), seed=1)
        assert kept.broken == []
        assert kept.auc.lower < 0.80 < kept.auc.upper

    def test_ranking_worse_than_promised(self) -> None:
        labels, told = outcomes(6_000, spread=1.45)
        # Half of the outcomes are those of others, whose probabilities nobody told.
        swapped = np.random.default_rng(5).permutation(3_000)
        labels[:3_000] = labels[swapped]
        worse = performance(CARD, labels, told, seed=1, max_calibration_error=1)
        [words] = worse.broken
        assert "promised were 0.80" in words
        assert worse.auc.upper < worse.promised.lower

    def test_people_who_are_hard_to_tell_apart_break_no_promise(self) -> None:
        labels, told = outcomes(20_000, spread=1.45)
        best_fifth = told > np.quantile(told, 0.8)
        chosen = performance(CARD, labels[best_fifth], told[best_fifth], seed=1)
        assert chosen.broken == []
        assert chosen.auc.upper < 0.70
        assert chosen.promised.value == pytest.approx(chosen.auc.value, abs=0.03)

    def test_a_card_that_does_not_say_what_was_claimed(self) -> None:
        figures = {name: value for name, value in CARD["figures"].items() if name != "claimed_auc"}
        assert performance(CARD | {"figures": figures}, *outcomes(3_000, spread=1.45), seed=1).broken == []

    def test_few_rows_prove_little(self) -> None:
        labels, told = outcomes(120, spread=1.2)
        assert performance(CARD, labels, told, seed=1, min_labels_per_class=30).broken == []

    def test_probabilities_that_no_longer_mean_what_they_say(self) -> None:
        worse = performance(CARD, *outcomes(3_000, spread=1.6, off=0.15), seed=1)
        assert any("0.05 is allowed" in words for words in worse.broken)

    def test_one_class_is_not_judged(self) -> None:
        with pytest.raises(TooFewLabels):
            performance(CARD, np.ones(500, np.int8), np.full(500, 0.5), seed=1)


class Champion:
    """A bundle's papers, for rows that are chosen by them alone."""

    def __init__(self, trained_at: datetime) -> None:
        self.manifest = {"model": "engagement", "tenant_id": TENANT, "feature_service": "engagement_v1"}
        self.trained_at = trained_at


class TestRowsSince:
    def test_neither_what_was_known_nor_another_horizon(self, warehouse) -> None:
        days = {"known": 0, "settled since": 30, "open": 58, "yet to come": 70}
        add_rows(
            warehouse,
            "marts.fct_sends",
            [
                send(number, message_id=name, sent_at=START + timedelta(days=day))
                for number, (name, day) in enumerate(days.items())
            ],
        )
        add_rows(warehouse, "marts.dim_campaigns", [campaign("c1")])
        now = START + timedelta(days=60)
        rows = rows_since(warehouse, Champion(START + timedelta(days=7)), now, 1_000)
        assert rows["message_id"].to_list() == ["settled since", "open"]
        assert matured(rows)["message_id"].to_list() == ["settled since"]
        assert recent(rows, now)["message_id"].to_list() == ["open"]
