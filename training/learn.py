"""The whole lesson for one tenant and model: dataset, fit, judgement, record, bundle, gate."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from training.bundle import (
    Bundle,
    champion_bundle,
    export_checked,
    make_manifest,
    onnx_session,
    reference_campaign,
    run_onnx,
    write_bundle,
)
from training.datasets import Dataset, Split, build_dataset, split_by_time
from training.errors import EmptySplit, TooFewLabels
from training.evaluate import Evaluation, evaluate
from training.explain import field_importance
from training.models import model_named
from training.promote import Verdict, judge, promote
from training.registry import Registry, log_abstention, log_bundle, log_training, set_alias
from training.train import Trained, train

if TYPE_CHECKING:
    from feature_store.transforms import ModelInputs
    from feature_store.warehouse import Warehouse
    from training.settings import TrainingSettings

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Learned:
    """What one lesson came to. `outcome`: promoted, kept (the champion stays) or abstained (`why` says what is
    lacking). `seconds` by step."""

    model: str
    outcome: str
    why: str
    version: str | None = None
    digest: str | None = None
    run_id: str | None = None
    evaluation: Evaluation | None = None
    verdict: Verdict | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)

    def figures(self) -> dict[str, float]:
        """Name to number; empty for an abstention."""
        return self.evaluation.figures() if self.evaluation else {}


def learn(
    warehouse: Warehouse,
    settings: TrainingSettings,
    tenant_id: str,
    tenant_slug: str,
    model: str,
    *,
    now: datetime,
    seed: int,
    model_inputs: ModelInputs,
    truth: pl.DataFrame | None = None,
    tags: Mapping[str, str] | None = None,
) -> Learned:
    """Teaches one model of one tenant on the labels settled by `now`, and promotes it if it passes the gate.

    A tenant too young to learn from is an outcome, not an error: it is recorded and returned as `abstained`.
    """
    registry = Registry(settings.tracking_uri, tenant_slug, settings.artifacts_dir)
    started = time.perf_counter()
    try:
        dataset = build_dataset(
            warehouse, tenant_id, model, now, model_inputs, settings.max_rows, settings.min_labels_per_class
        )
        split = split_by_time(dataset, settings.test_share)
        built = time.perf_counter() - started
        return learn_from(split, registry, settings, now=now, seed=seed, truth=truth, tags=tags, built_seconds=built)
    except (TooFewLabels, EmptySplit) as lacking:
        logger.info("training.abstained", extra={"tenant_id": tenant_id, "model": model, "why": str(lacking)})
        run_id = log_abstention(registry, model, tenant_id, str(lacking), tags or {})
        return Learned(model, "abstained", str(lacking), run_id=run_id)


def learn_from(
    split: Split,
    registry: Registry,
    settings: TrainingSettings,
    *,
    now: datetime,
    seed: int,
    truth: pl.DataFrame | None = None,
    tags: Mapping[str, str] | None = None,
    built_seconds: float = 0.0,
) -> Learned:
    """`learn` from a split already made: fit, judge, record, write the bundle, and promote through the gate."""
    clock = _Clock()
    trained = train(
        split, seed=seed, now=now, threads=settings.threads, min_labels_per_class=settings.min_labels_per_class
    )
    clock.lap("fit")
    evaluation = evaluate(trained, split, seed=seed, truth=truth)
    clock.lap("evaluate")
    graph, parity = export_checked(trained, split.test)
    registered = log_training(registry, trained, evaluation, graph, split.test.matrix()[:1], tags or {})
    clock.lap("log")
    champion = champion_bundle(settings.bundles_dir, trained.tenant_id, trained.model)
    verdict = judge(evaluation, split.test, champion, seed=seed, min_gain=settings.min_auc_gain)
    bundle = publish(settings.bundles_dir, trained, evaluation, split, graph, registered.version, verdict, parity, seed)
    log_bundle(registry, registered, bundle.path, bundle.digest)
    set_alias(registry, trained.model, "challenger", registered.version)
    if verdict.promote:
        promote(registry, settings.bundles_dir, trained.tenant_id, trained.model, registered.version)
    clock.lap("publish")
    return Learned(
        model=trained.model,
        outcome="promoted" if verdict.promote else "kept",
        why=verdict.reason,
        version=registered.version,
        digest=bundle.digest,
        run_id=registered.run_id,
        evaluation=evaluation,
        verdict=verdict,
        seconds={"dataset": built_seconds} | clock.laps,
    )


def publish(
    bundles_dir: Path,
    trained: Trained,
    evaluation: Evaluation,
    split: Split,
    graph: bytes,
    version: str,
    verdict: Verdict,
    parity: float,
    seed: int,
) -> Bundle:
    """The bundle of a trained model, with a card that says how it was made and how good it is."""
    card = _card(trained, evaluation, split.test, graph, verdict, parity, seed) | {"version": version}
    manifest = make_manifest(trained, version, reference_campaign(split.fit))
    return write_bundle(bundles_dir, graph, manifest, card)


def _card(
    trained: Trained, evaluation: Evaluation, test: Dataset, graph: bytes, verdict: Verdict, parity: float, seed: int
) -> dict[str, Any]:
    session = onnx_session(graph)
    chosen = model_named(trained.model)
    return {
        "model": trained.model,
        "unit": chosen.unit,
        "label": chosen.label,
        "scale": chosen.scale,
        "split": evaluation.split,
        "figures": evaluation.figures(),
        "deciles": [vars(row) for row in evaluation.deciles],
        "importance": field_importance(
            lambda matrix: run_onnx(session, matrix), test.matrix(), evaluation.labels, trained.inputs, seed=seed
        ),
        "params": dict(trained.params),
        "seed": seed,
        "rows": trained.rows,
        "excluded": dict(test.excluded),
        "dataset_digest": trained.dataset_digest,
        "parity": parity,
        "verdict": {"promote": verdict.promote, "against": verdict.against, "reason": verdict.reason},
    }


class _Clock:
    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        moment = time.perf_counter()
        self.laps[name] = round(moment - self._last, 3)
        self._last = moment
