"""What a tenant set about its models, as its partition knows it."""

from __future__ import annotations

import pytest

from orchestration.lib.partitions import _churn_windows, _costs
from training.models.churn import Windows


def test_a_tenant_says_what_silence_means_to_it() -> None:
    assert _churn_windows({"churn_windows": {"active_days": 180, "horizon_days": 90}}) == Windows(180, 90)


@pytest.mark.parametrize("given", [{}, {"churn_windows": {"horizon_days": 0}}, {"churn_windows": "90 days"}])
def test_windows_that_are_none_leave_the_usual_ones(given: dict[str, object]) -> None:
    assert _churn_windows(given) is None


def test_costs_take_both_numbers() -> None:
    assert _costs({"message_cost_cents": 5, "outcome_value_cents": "900"}) == (5.0, 900.0)
    assert _costs({"message_cost_cents": 5}) is None
    assert _costs({"message_cost_cents": 5, "outcome_value_cents": "much"}) is None
