from __future__ import annotations

import numpy as np

from training.calibration import fit_calibration
from training.metrics import auc, calibration_error


def _overconfident(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    raw = rng.random(rows)
    return (rng.random(rows) < 0.2 + 0.3 * raw).astype(int), raw


class TestFitCalibration:
    def test_brings_promised_and_seen_rate_together_on_other_rows(self) -> None:
        table = fit_calibration(*_overconfident(8_000, seed=1))
        labels, raw = _overconfident(8_000, seed=2)
        assert calibration_error(labels, raw) > 0.15
        assert calibration_error(labels, table.apply(raw)) < 0.03

    def test_keeps_the_order_of_every_row(self) -> None:
        labels, raw = _overconfident(3_000, seed=3)
        table = fit_calibration(labels, raw)
        assert np.all(np.diff(table.apply(np.sort(raw))) > 0)
        assert auc(labels, table.apply(raw)) == auc(labels, raw)

    def test_stays_a_probability_outside_what_was_seen(self) -> None:
        table = fit_calibration([0, 1] * 200, np.tile([0.4, 0.6], 200))
        applied = table.apply([0.0, 1.0])
        assert 0.0 <= applied[0] < applied[1] <= 1.0
