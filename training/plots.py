"""Pictures for the experiment's page: ROC, calibration, lift and gain. Drawn without a display."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np

from training.evaluate import Evaluation
from training.metrics import roc_points

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw(evaluation: Evaluation) -> dict[str, bytes]:
    """PNG pictures by name: roc, calibration, lift and gain; bars of what is seen are 95 % intervals."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    def picture(name: str, title: str, x: str, y: str) -> tuple[Figure, object]:
        figure = Figure(figsize=(5, 4), dpi=90)
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        axes.set(xlabel=x, ylabel=y)
        # Left to find the height of the title itself, matplotlib lays out every tick twice.
        axes.set_title(title, y=1.02)
        figures[name] = figure
        return figure, axes

    figures: dict[str, Figure] = {}
    _, axes = picture("roc", f"{evaluation.model}: {evaluation.split}", "false positive rate", "true positive rate")
    false, true = roc_points(evaluation.labels, evaluation.probabilities)
    axes.plot(false, true, label=f"AUC {evaluation.auc.value:.3f}")  # type: ignore[attr-defined]
    axes.plot([0, 1], [0, 1], linestyle=":", color="grey")  # type: ignore[attr-defined]
    axes.legend(loc="lower right")  # type: ignore[attr-defined]

    _, axes = picture("calibration", "promised and seen", "mean probability", "rate")
    told = [row.mean_probability for row in evaluation.deciles]
    axes.errorbar(told, **_seen(evaluation, "rate"))  # type: ignore[attr-defined]
    axes.plot([0, 1], [0, 1], linestyle=":", color="grey")  # type: ignore[attr-defined]

    _, axes = picture("lift", "lift by decile", "decile (1 scores highest)", "rate / overall rate")
    axes.errorbar(np.arange(1, 11), **_seen(evaluation, "lift"))  # type: ignore[attr-defined]
    axes.axhline(1.0, linestyle=":", color="grey")  # type: ignore[attr-defined]

    _, axes = picture("gain", "gain by decile", "share of the rows, best scores first", "share of the positives found")
    axes.errorbar(np.arange(1, 11) / 10, **_seen(evaluation, "gain"))  # type: ignore[attr-defined]
    axes.plot([0, 1], [0, 1], linestyle=":", color="grey")  # type: ignore[attr-defined]

    return {name: _png(figure) for name, figure in figures.items()}


def _seen(evaluation: Evaluation, name: str) -> dict[str, Any]:
    """A figure of each decile with its interval, as matplotlib draws it: how far the ends lie from it."""
    seen, lower, upper = (
        np.array([getattr(row, column) for row in evaluation.deciles])
        for column in (name, f"{name}_lower", f"{name}_upper")
    )
    return {"y": seen, "yerr": np.maximum([seen - lower, upper - seen], 0.0), "marker": "o", "capsize": 2}


def _png(figure: Figure) -> bytes:
    written = io.BytesIO()
    figure.savefig(written, format="png")
    return written.getvalue()
