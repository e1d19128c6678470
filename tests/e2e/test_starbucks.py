"""A history nobody here wrote (simulated by its publisher) goes in at one end; models that beat the rule come out."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks.bench_learning import Prepared, abstains_from_churn, figures, prepare

pytestmark = [pytest.mark.slow]


@pytest.fixture(scope="module")
def prepared(database, shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    folder = tmp_path_factory.mktemp("starbucks")
    return prepare(database.worker, database.etl_read, database.add_tenant("coffee"), shared_data, folder)


@pytest.fixture(scope="module")
def found(prepared: Prepared) -> dict[str, dict]:
    return {figure["name"]: figure for figure in figures(prepared)}


class TestStarbucks:
    def test_reading_is_foreseen_for_people_never_seen(self, found: dict[str, dict]) -> None:
        reading = found["AUC read"]
        assert reading["value"] >= 0.85
        assert reading["beats_rule"]

    def test_converting_is_foreseen_for_people_never_seen(self, found: dict[str, dict]) -> None:
        converting = found["AUC converted"]
        assert converting["value"] >= 0.855
        assert converting["beats_rule"]

    def test_probabilities_of_settled_sends_mean_what_they_say(self, found: dict[str, dict]) -> None:
        for name in ("AUC read, settled", "AUC converted, settled"):
            assert found[name]["calibration_error"] < 0.05
            assert found[name]["brier"] < found[name]["base_rate"] * (1 - found[name]["base_rate"])

    def test_announcements_are_left_out_of_lead_scoring(self, found: dict[str, dict]) -> None:
        rows, excluded = found["AUC converted"]["rows"], found["AUC converted"]["excluded"]
        # Two of the ten offers are informational; each offer went to about as many people.
        assert excluded["campaign cannot convert"] == pytest.approx(0.25 * rows, rel=0.05)

    def test_a_month_is_too_short_to_learn_churn_from(self, prepared: Prepared) -> None:
        assert "50 of each are needed" in (abstains_from_churn(prepared) or "")
