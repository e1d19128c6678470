"""A history nobody here wrote (simulated by its publisher) goes in at one end; models that beat the rule come out."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks.bench_learning import Judged, Prepared, abstains_from_churn, judged_models, prepare

pytestmark = [pytest.mark.slow]


@pytest.fixture(scope="module")
def prepared(database, shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    folder = tmp_path_factory.mktemp("starbucks")
    return prepare(database.worker, database.etl_read, database.add_tenant("coffee"), shared_data, folder)


@pytest.fixture(scope="module")
def found(prepared: Prepared) -> dict[str, Judged]:
    return {label: judged for label, _, judged in judged_models(prepared)}


class TestStarbucks:
    def test_reading_is_foreseen_for_people_never_seen(self, found: dict[str, Judged]) -> None:
        reading = found["read"].evaluation
        assert reading.auc.value >= 0.85
        assert reading.gain_over_rule.lower > 0

    def test_converting_is_foreseen_for_people_never_seen(self, found: dict[str, Judged]) -> None:
        converting = found["converted"].evaluation
        assert converting.auc.value >= 0.855
        assert converting.gain_over_rule.lower > 0

    def test_probabilities_of_settled_sends_mean_what_they_say(self, found: dict[str, Judged]) -> None:
        for name in ("read, settled", "converted, settled"):
            judged = found[name].evaluation
            assert judged.calibration_error.value < 0.05
            assert judged.brier.value < judged.base_rate * (1 - judged.base_rate)

    def test_announcements_are_left_out_of_lead_scoring(self, found: dict[str, Judged]) -> None:
        # Two of the ten offers are informational; each offer went to about as many people.
        left_out = found["converted"].excluded["campaign cannot convert"]
        assert left_out == pytest.approx(0.25 * found["converted"].rows, rel=0.05)

    def test_a_month_is_too_short_to_learn_churn_from(self, prepared: Prepared) -> None:
        assert "50 of each are needed" in (abstains_from_churn(prepared) or "")
