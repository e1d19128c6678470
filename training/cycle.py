"""One turn of learning for one model: split, fit, judge, register, and promote if the gate lets it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from training import promote, registry
from training.bundle import champion_bundle, export_checked, make_manifest, reference_campaign, write_bundle
from training.datasets import Dataset, split_by_time
from training.evaluate import Evaluation, evaluate
from training.explain import field_importance
from training.promote import Verdict, judge
from training.registry import RegisteredVersion, Registry
from training.settings import TrainingSettings
from training.train import train

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class Turn:
    """What one turn of learning came to. `champion` is the version that speaks afterwards, None if none does yet."""

    evaluation: Evaluation
    registered: RegisteredVersion
    verdict: Verdict
    digest: str
    champion: str | None


def learn(
    dataset: Dataset,
    tracked: Registry,
    settings: TrainingSettings,
    *,
    seed: int,
    now: datetime,
    truth: pl.DataFrame | None = None,
    tags: Mapping[str, str] | None = None,
) -> Turn:
    """The turn, complete: a crash before the promotion leaves the champion as it was.

    `truth` as in `evaluate`. Raises TooFewLabels, EmptySplit, ParityFailed.
    """
    split = split_by_time(dataset, settings.test_share)
    trained = train(
        split, seed=seed, now=now, threads=settings.threads, min_labels_per_class=settings.min_labels_per_class
    )
    evaluation = evaluate(trained, split, seed=seed, truth=truth)
    champion = champion_bundle(settings.bundles_dir, dataset.tenant_id, dataset.model)
    verdict = judge(evaluation, split.test, champion, seed=seed, min_gain=settings.min_auc_gain)
    graph, difference = export_checked(trained, split.test)
    noted = dict(tags or {}) | {"gate": verdict.reason}
    registered = registry.log_training(tracked, trained, evaluation, graph, split.test.matrix()[:5], noted)
    manifest = make_manifest(trained, registered.version, reference_campaign(dataset))
    card = {
        "figures": evaluation.figures(),
        "gate": verdict.reason,
        "parity": difference,
        "importance": field_importance(
            trained.probability, split.test.matrix(), split.test.labels(), trained.inputs, seed=seed
        ),
    }
    bundle = write_bundle(settings.bundles_dir, graph, manifest, card)
    registry.log_bundle(tracked, registered, bundle.path, bundle.digest)
    registry.set_alias(tracked, dataset.model, "challenger", registered.version)
    if verdict.promote:
        promote.promote(tracked, settings.bundles_dir, dataset.tenant_id, dataset.model, registered.version)
    speaking = registered.version if verdict.promote else (champion.version if champion else None)
    return Turn(evaluation, registered, verdict, bundle.digest, speaking)
