"""Whether a champion still meets the people it learnt from.

Inputs and scores are compared as distributions, without labels. What chance alone would move so few people, and what
moved anyway between two periods before the model was made, is no drift.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from feature_store.drift import LARGE, Bins, bin_shares, fit_bins, population_stability
from feature_store.feature_services import HABITS

if TYPE_CHECKING:
    from feature_store.transforms import InputColumn

Probability = Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float64]]

# Of all inputs and the score of a model together, on one day on which nothing moved.
FALSE_ALARM = 0.001
# What moved more than this between the two periods before the model was made was drifting already.
MOST_USUAL = 4 * LARGE
# With fewer rows of either of them it is not known how an input moves when nothing drifts.
FEWEST_ROWS = 100
LONGEST_WINDOW_DAYS = 90
SCORE = "score"
CLOCK = ("send_hour_sin", "send_hour_cos", "send_weekday", "preferred_hour_share")


class Periods(NamedTuple):
    """Rows as retrieval returns them: of two periods before the model was made, `older` and `newer`, and of `lately`.
    How they are drawn must be the same for each: a difference in that would pass for drift."""

    older: pl.DataFrame
    newer: pl.DataFrame
    lately: pl.DataFrame


@dataclass(frozen=True)
class Movement:
    """How far an input, or the score, has moved: `stability` is the population stability index in nats of lately
    against the newer period, beyond `limit` it has drifted. `usual` is the index of the newer period against the older
    one, `units` how many independent people (or campaigns, for what a campaign decides) the rows of lately come from.
    `shares` are those of lately in `bins`, which were fitted on the newer period."""

    name: str
    stability: float
    limit: float
    usual: float
    units: int
    bins: Bins
    shares: tuple[float, ...]

    @property
    def drifted(self) -> bool:
        return self.stability > self.limit


@dataclass(frozen=True)
class Drift:
    """`inputs` with the one furthest beyond its limit first. `score` is None where too few people were known before
    the model was made to say how scores move anyway. `people` and `sends` are the rows of lately."""

    people: int
    sends: int
    inputs: list[Movement]
    score: Movement | None

    @property
    def drifted_inputs(self) -> list[Movement]:
        return [moved for moved in self.inputs if moved.drifted]

    @property
    def drifted(self) -> bool:
        return bool(self.drifted_inputs) or (self.score is not None and self.score.drifted)


def drift_of(
    inputs: Sequence[InputColumn],
    probability: Probability,
    since: datetime,
    people: Periods,
    sends: Periods | None = None,
) -> Drift | None:
    """How far people, and what they are sent, have moved since the model was made; None without anybody lately.

    `people` are whom a model is asked about, whether they were sent anything or not: those a campaign was sent to were
    chosen, maybe by the score itself, and differ from all others without anybody having changed. `sends` are judged
    for what the business decides alone. `probability` answers the model's calibrated probabilities of a matrix of
    `inputs`. `since` (UTC) is when history begins: a window is judged from when it can be full.
    """
    from feature_store.transforms import encode

    if people.lately.is_empty():
        return None
    by_people = [given for given in inputs if not _grows(given) and not _decided_by_campaign(given)]
    compared = _compared(by_people, people, since, "contact_id")
    scores = [probability(encode(rows, list(inputs))) for rows in people]
    compared[SCORE] = _Compared(*(_Values(told, len(told)) for told in scores))
    if sends is not None:
        by_campaigns = [given for given in inputs if not _grows(given) and _decided_by_campaign(given)]
        compared |= _compared(by_campaigns, sends, since, "campaign_id")
    judged = {name: values for name, values in compared.items() if values.enough}
    moved = [_movement(name, values, FALSE_ALARM / len(judged)) for name, values in judged.items()]
    return Drift(
        people=people.lately.height,
        sends=0 if sends is None else sends.lately.height,
        inputs=sorted(
            (one for one in moved if one.name != SCORE), key=lambda one: one.stability - one.limit, reverse=True
        ),
        score=next((one for one in moved if one.name == SCORE), None),
    )


def chance(bins: int, before: int, now: int, probability: float) -> float:
    """The stability index that two samples of one distribution exceed with `probability`: the index times
    n m / (n + m) is about chi-squared with as many degrees of freedom as there are bins beside that of the missing.

    The quantile is Wilson and Hilferty's, good to a per cent."""
    spread = 2 / (9 * bins)
    quantile = bins * (1 - spread + NormalDist().inv_cdf(1 - probability) * spread**0.5) ** 3
    return float(quantile * (1 / max(before, 1) + 1 / max(now, 1)))


@dataclass(frozen=True)
class _Values:
    """One number a row, and how many independent people or campaigns the rows come from."""

    numbers: npt.NDArray[Any]
    units: int


class _Compared(NamedTuple):
    """The values of an input, or of the score, in each period."""

    older: _Values
    newer: _Values
    lately: _Values

    @property
    def enough(self) -> bool:
        return min(len(self.older.numbers), len(self.newer.numbers)) >= FEWEST_ROWS and len(self.lately.numbers) > 0


def _compared(inputs: Sequence[InputColumn], periods: Periods, since: datetime, unit: str) -> dict[str, _Compared]:
    """The values of some inputs by name; `unit` names the column that tells apart what is independent."""
    from feature_store.transforms import encode

    matrices = [encode(rows, list(inputs)) for rows in periods]

    def values(rows: pl.DataFrame, matrix: npt.NDArray[np.float32], position: int) -> _Values:
        age = (rows["event_timestamp"] - since).dt.total_days().to_numpy()
        full = age >= _window_days(inputs[position])
        return _Values(matrix[full, position], rows[unit].filter(pl.Series(full)).n_unique())

    return {
        given.name: _Compared(*(values(*part, position) for part in zip(periods, matrices, strict=True)))
        for position, given in enumerate(inputs)
    }


def _movement(name: str, values: _Compared, doubt: float) -> Movement:
    older, newer, lately = values
    bins = fit_bins(newer.numbers)
    usual = population_stability(fit_bins(older.numbers), newer.numbers)
    by_chance = chance(len(bins.shares), newer.units, lately.units, doubt)
    return Movement(
        name=name,
        stability=population_stability(bins, lately.numbers),
        limit=max(LARGE, min(usual, MOST_USUAL)) + by_chance,
        usual=round(usual, 4),
        units=lately.units,
        bins=bins,
        shares=bin_shares(bins, lately.numbers),
    )


def _decided_by_campaign(given: InputColumn) -> bool:
    """Whether it tells what the business sent, and when, rather than what people did: most are active at the hours at
    which they are written to."""
    sent = given.field.startswith(("sent_", "delivered_", "campaign_sent_", "active_"))
    return given.source == "campaign_attribute" or sent or given.field in CLOCK


def _grows(given: InputColumn) -> bool:
    """Whether it grows by the passing of time alone: everybody has known us for a day more each day, and whoever left
    has been silent for a day more. What is counted in windows tells of those too."""
    grows = given.field == "tenure_days" or given.field.startswith("days_since_") or given.field.endswith("_total")
    # Habits are made of totals, and of an imagined beginning that fades.
    return grows or given.field in HABITS


def _window_days(given: InputColumn) -> int:
    """How far it looks back; what looks back for ever is as good as full after the longest window. 0 for what looks at
    no history."""
    if given.source.endswith("_attribute") or given.field in CLOCK[:3]:
        return 0
    found = re.search(r"_(\d+)d$", given.field)
    return int(found[1]) if found else LONGEST_WINDOW_DAYS
