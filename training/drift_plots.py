"""Pictures of what moved, as PNG. Drawn without a display."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from training.drift import Movement
from training.metrics import deciles


def inputs_picture(moved: Sequence[Movement]) -> bytes:
    """One bar an input, its limit as a tick."""
    figure, axes = _axes("inputs: stability index and its limit", (6, 0.5 + 0.25 * len(moved)))
    rows = np.arange(len(moved))[::-1]
    axes.barh(rows, [one.stability for one in moved], color=["firebrick" if one.drifted else "grey" for one in moved])
    axes.plot([one.limit for one in moved], rows, linestyle="", marker="|", markersize=12, color="black")
    axes.set_yticks(rows, [one.name for one in moved], fontsize=7)
    return _png(figure)


def score_picture(moved: Movement) -> bytes:
    """The shares of the score's bins before and lately, side by side."""
    figure, axes = _axes("score: shares then and now", (5, 2.5))
    place = np.arange(len(moved.shares))
    axes.bar(place - 0.2, moved.bins.shares, width=0.4, label="before the model was made", color="grey")
    axes.bar(place + 0.2, moved.shares, width=0.4, label="lately", color="steelblue")
    axes.set_xticks(place, [*(f"≤ {edge:.3f}" for edge in moved.bins.edges), "above"], fontsize=6, rotation=45)
    axes.legend(fontsize=7)
    return _png(figure)


def calibration_picture(labels: npt.NDArray[Any], probabilities: npt.NDArray[np.float64]) -> bytes:
    """The rate seen beside the probability told, by decile."""
    figure, axes = _axes("told and seen", (3.5, 3))
    rows = deciles(labels, probabilities)
    axes.plot([row.mean_probability for row in rows], [row.rate for row in rows], marker="o")
    most = max([row.mean_probability for row in rows] + [row.rate for row in rows])
    axes.plot([0, most], [0, most], linestyle=":", color="grey")
    return _png(figure)


def _axes(title: str, size: tuple[float, float]) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, dpi=80, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(title, fontsize=9)
    return figure, axes


def _png(figure: Any) -> bytes:
    written = io.BytesIO()
    figure.savefig(written, format="png")
    return written.getvalue()
