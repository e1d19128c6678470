"""One turn of learning for one model: split, fit, judge, register, and promote if the gate lets it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from training import registry
from training.bundle import (
    champion_bundle,
    export_checked,
    make_manifest,
    write_bundle,
)
from training.card import in_words, make_card
from training.datasets import Dataset, Split, split_by_time
from training.evaluate import Costs, Evaluation, evaluate
from training.leftovers import none_left
from training.plots import draw
from training.promote import Verdict, judge, make_champion
from training.registry import RegisteredVersion, Registry
from training.settings import TrainingSettings
from training.train import train

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class Turn:
    """What one turn of learning came to. `champion` is the version that speaks afterwards, None if none does yet.
    `pictures` are PNGs by name, `seconds` by step: fit, judge, register, publish."""

    evaluation: Evaluation
    pictures: Mapping[str, bytes]
    registered: RegisteredVersion
    verdict: Verdict
    digest: str
    champion: str | None
    seconds: Mapping[str, float]


def learn(
    dataset: Dataset,
    tracked: Registry,
    settings: TrainingSettings,
    *,
    seed: int,
    now: datetime,
    truth: pl.DataFrame | None = None,
    costs: Costs | None = None,
    tags: Mapping[str, str] | None = None,
    notes: Mapping[str, Any] | None = None,
) -> Turn:
    """The turn, complete: a crash before the promotion leaves the champion as it was.

    `truth` and `costs` as in `evaluate`; `notes` go on the model's card. Raises TooFewLabels, EmptySplit, ParityFailed.
    """
    split = split_by_time(dataset, settings.test_share)
    return learn_from(split, tracked, settings, seed=seed, now=now, truth=truth, costs=costs, tags=tags, notes=notes)


def learn_from(
    split: Split,
    tracked: Registry,
    settings: TrainingSettings,
    *,
    seed: int,
    now: datetime,
    truth: pl.DataFrame | None = None,
    costs: Costs | None = None,
    tags: Mapping[str, str] | None = None,
    notes: Mapping[str, Any] | None = None,
) -> Turn:
    """`learn` on a split already made. Raises TooFewLabels, ParityFailed."""
    laps = _Laps()
    model, tenant_id = split.fit.model, split.fit.tenant_id
    trained = train(
        split, seed=seed, now=now, threads=settings.threads, min_labels_per_class=settings.min_labels_per_class
    )
    laps.end("fit")
    evaluation = evaluate(trained, split, seed=seed, truth=truth, costs=costs)
    graph, parity = export_checked(trained, split.test)
    pictures = draw(evaluation)
    laps.end("judge")
    with none_left(tracked, settings.bundles_dir, tenant_id, model):
        # Held against who speaks now: another training may have promoted its own while this one was fitting.
        champion = champion_bundle(settings.bundles_dir, tenant_id, model)
        verdict = judge(
            evaluation,
            split.test,
            champion,
            seed=seed,
            min_gain=settings.min_auc_gain,
            max_calibration_error=settings.max_calibration_error,
        )
        noted = dict(tags or {}) | {"gate": verdict.reason}
        registered = registry.log_training(
            tracked, trained, evaluation, pictures, graph, split.test.matrix()[:1], noted
        )
        laps.end("register")
        manifest = make_manifest(trained, registered.version, split)
        card = make_card(trained, evaluation, split, graph, verdict, seed, settings.threads) | {
            "version": registered.version,
            "parity": parity,
            **(notes or {}),
        }
        bundle = write_bundle(settings.bundles_dir, graph, manifest, card)
        registry.log_bundle(tracked, registered, bundle.path, bundle.digest, in_words(card))
        registry.set_alias(tracked, model, "challenger", registered.version)
        if verdict.promote:
            make_champion(tracked, settings.bundles_dir, bundle, now=now)
    laps.end("publish")
    speaking = registered.version if verdict.promote else (champion.version if champion else None)
    return Turn(evaluation, pictures, registered, verdict, bundle.digest, speaking, laps.seconds)


class _Laps:
    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def end(self, name: str) -> None:
        moment = time.perf_counter()
        self.seconds[name] = round(moment - self._last, 3)
        self._last = moment
