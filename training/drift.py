"""Whether a champion still meets the people it learnt from.

Inputs and scores are compared as distributions, without labels: rows of today beside the rows learnt from, both the
model's own unit (a send, a contact's week), each as it was known at its moment. What chance alone would move so few
people, and what moved between the older and the newer rows learnt from, is no drift.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from feature_store.drift import LARGE, Bins, bin_shares, fit_bins, population_stability
from feature_store.feature_services import HABITS
from training.bundle import reference_campaign
from training.datasets import Split
from training.train import Trained

if TYPE_CHECKING:
    from feature_store.transforms import InputColumn

Probability = Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float64]]

# Of all inputs and the score of a model together, on one day on which nothing moved.
FALSE_ALARM = 0.001
# What moved more than this between the older and the newer rows learnt from was drifting already.
MOST_USUAL = 4 * LARGE
# More rows learnt from make no bin better.
ENOUGH_ROWS = 20_000
# With fewer of the older or of the newer rows it is not known how an input moves when nothing drifts.
FEWEST_ROWS = 100
LONGEST_WINDOW_DAYS = 90
SCORE = "score"
CLOCK = ("send_hour_sin", "send_hour_cos", "send_weekday", "preferred_hour_share")


@dataclass(frozen=True)
class Movement:
    """How far an input, or the score, has moved: `stability` is the population stability index in nats, beyond `limit`
    it has drifted. `usual` is the index between the older and the newer rows learnt from, `units` how many independent
    people (or campaigns, for what a campaign decides) the recent rows come from."""

    name: str
    stability: float
    limit: float
    usual: float
    units: int

    @property
    def drifted(self) -> bool:
        return self.stability > self.limit


@dataclass(frozen=True)
class Drift:
    """`inputs` with the one furthest beyond its limit first; `score_shares` by bin of the reference."""

    rows: int
    people: int
    inputs: list[Movement]
    score: Movement
    score_shares: tuple[float, ...]

    @property
    def drifted_inputs(self) -> list[Movement]:
        return [moved for moved in self.inputs if moved.drifted]

    @property
    def drifted(self) -> bool:
        return bool(self.drifted_inputs) or self.score.drifted


def reference(trained: Trained, split: Split) -> dict[str, Any]:
    """What `drift_of` compares with, as JSON: bins of each input over the rows learnt from, bins of the score over the
    later rows it was judged on (those learnt from score too well), and what moved within either."""
    # The same share of either part, or the bins would be of other people than those learnt from.
    step = -(-(split.fit.frame.height + split.calibrate.frame.height) // ENOUGH_ROWS)
    fit, calibrate, test = (part.frame.gather_every(step) for part in (split.fit, split.calibrate, split.test))
    learnt = pl.concat([fit, calibrate])
    asked = {
        "campaign": reference_campaign(split.newest_per_contact()),
        "hour": int(np.median(learnt["event_timestamp"].dt.hour().to_numpy())),
        "weekday": int(np.median(learnt["event_timestamp"].dt.weekday().to_numpy())) - 1,
    }
    since = learnt["event_timestamp"].sort()[0]
    boundary = split.fit.frame.height
    matrix = split.learn.matrix()
    older_rows, newer_rows = matrix[:boundary][::step], matrix[boundary:][::step]
    older, newer = (
        _inputs(fit, older_rows, trained.inputs, since),
        _inputs(calibrate, newer_rows, trained.inputs, since),
    )
    whole = _inputs(learnt, np.vstack([older_rows, newer_rows]), trained.inputs, since)
    judged = {
        name: one
        for name, one in whole.items()
        if min(len(older[name].numbers), len(newer[name].numbers)) >= FEWEST_ROWS
    }
    score = _Values(_scores(test, trained.inputs, trained.probability, asked), test["contact_id"].n_unique())
    at = test["event_timestamp"].to_numpy()
    later = at >= np.sort(at)[len(at) // 2]
    usual = {name: _stability(older[name].numbers, newer[name].numbers) for name in judged}
    everything = judged | {SCORE: score}
    return {
        "asked": asked,
        "since": since.isoformat(),
        "bins": {name: fit_bins(one.numbers).to_json() for name, one in everything.items()},
        "usual": usual | {SCORE: _stability(score.numbers[~later], score.numbers[later])},
        "units": {name: one.units for name, one in everything.items()},
        "known_until": max(_newest(part.frame) for part in (split.fit, split.calibrate, split.test)).isoformat(),
    }


def drift_of(
    reference: Mapping[str, Any], inputs: Sequence[InputColumn], probability: Probability, rows: pl.DataFrame
) -> Drift | None:
    """How far `rows`, as retrieval returns them, have moved from those learnt from; None without a row.

    `probability` answers the model's calibrated probabilities of a matrix of `inputs`.
    """
    if rows.is_empty():
        return None
    from feature_store.transforms import encode

    people, since = rows["contact_id"].n_unique(), datetime.fromisoformat(reference["since"])
    found = {
        name: one
        for name, one in _inputs(rows, encode(rows, list(inputs)), inputs, since).items()
        if name in reference["bins"] and len(one.numbers)
    }
    doubt = FALSE_ALARM / (len(found) + 1)

    def movement(name: str, now: _Values) -> Movement:
        bins, usual = Bins.from_json(reference["bins"][name]), float(reference["usual"][name])
        limit = max(LARGE, min(usual, MOST_USUAL)) + chance(
            len(bins.shares), int(reference["units"][name]), now.units, doubt
        )
        return Movement(name, population_stability(bins, now.numbers), limit, usual, now.units)

    told = _scores(rows, inputs, probability, reference["asked"])
    moved = [movement(name, now) for name, now in found.items()]
    return Drift(
        rows=rows.height,
        people=people,
        inputs=sorted(moved, key=lambda one: one.stability - one.limit, reverse=True),
        score=movement(SCORE, _Values(told, people)),
        score_shares=bin_shares(Bins.from_json(reference["bins"][SCORE]), told),
    )


def chance(bins: int, learnt_from: int, now: int, probability: float) -> float:
    """The stability index that two samples of one distribution exceed with `probability`: the index times
    n m / (n + m) is about chi-squared with as many degrees of freedom as there are bins beside that of the missing.

    The quantile is Wilson and Hilferty's, good to a per cent."""
    spread = 2 / (9 * bins)
    quantile = bins * (1 - spread + NormalDist().inv_cdf(1 - probability) * spread**0.5) ** 3
    return float(quantile * (1 / max(learnt_from, 1) + 1 / max(now, 1)))


@dataclass(frozen=True)
class _Values:
    """One number a row, and how many independent people or campaigns the rows come from."""

    numbers: npt.NDArray[Any]
    units: int


def _inputs(
    rows: pl.DataFrame, matrix: npt.NDArray[np.float32], inputs: Sequence[InputColumn], since: datetime
) -> dict[str, _Values]:
    """The values of each input that can drift, in their order, of rows and their matrix; those of a window from when it
    can be full, counted from `since`, the first row there was."""
    age = (rows["event_timestamp"] - since).dt.total_days().to_numpy()
    people, campaigns = rows["contact_id"], rows[_campaign_key(rows)]
    units: dict[tuple[int, bool], int] = {}
    found = {}
    for position, given in enumerate(inputs):
        if _grows(given):
            continue
        window, by_campaign = _window_days(given), _decided_by_campaign(given)
        full = age >= window
        if (window, by_campaign) not in units:
            units[window, by_campaign] = (campaigns if by_campaign else people).filter(pl.Series(full)).n_unique()
        found[given.name] = _Values(matrix[full, position], units[window, by_campaign])
    return found


def _scores(
    rows: pl.DataFrame, inputs: Sequence[InputColumn], probability: Probability, asked: Mapping[str, Any]
) -> npt.NDArray[np.float64]:
    """The probabilities as if everybody had been asked about the reference campaign at the usual hour: they tell of
    people, not of campaigns."""
    from feature_store.transforms import encode

    hour = pl.col("event_timestamp").dt.truncate("1d") + timedelta(hours=asked["hour"])
    usual = rows.with_columns(event_timestamp=hour)
    if "campaign_attributes" in rows.columns:
        usual = usual.with_columns(campaign_attributes=pl.lit(json.dumps(asked["campaign"])))
    matrix = encode(usual, list(inputs))
    for position, given in enumerate(inputs):
        if given.field == "send_weekday":
            matrix[:, position] = asked["weekday"]
    return probability(matrix)


def _stability(older: npt.NDArray[Any], newer: npt.NDArray[Any]) -> float:
    """0 where one of both has no row."""
    return round(population_stability(fit_bins(older), newer), 4) if older.size and newer.size else 0.0


def _newest(rows: pl.DataFrame) -> datetime:
    """When the last label was settled."""
    moment: datetime = rows["label_known_at"].sort()[-1]
    return moment


def _decided_by_campaign(given: InputColumn) -> bool:
    """Whether it tells what the business sent, and when, rather than what people did."""
    sent = given.field.startswith(("sent_", "delivered_", "campaign_sent_"))
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


def _campaign_key(rows: pl.DataFrame) -> str:
    """What tells apart the decisions about when and what to send."""
    return "campaign_id" if "campaign_id" in rows.columns else "event_timestamp"
