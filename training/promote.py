"""Which model speaks: the gate every challenger passes, and the one call that promotes and rolls back."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from training import registry as mlflow_registry
from training.bundle import Bundle, bundle_of_version, point_champion
from training.datasets import Dataset
from training.evaluate import Evaluation
from training.metrics import Interval, auc_gain_interval
from training.registry import Registry

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Verdict:
    """`gain`: the challenger's AUC minus that of what it was held against (`against`), on the same later rows."""

    promote: bool
    against: str
    gain: Interval
    reason: str


def judge(
    challenger: Evaluation, test: Dataset, champion: Bundle | None, *, seed: int, min_gain: float = 0.0
) -> Verdict:
    """Promote when the challenger beats the champion on the period both are judged by, or, with no champion yet, when
    it beats the rule with 95% confidence.

    A challenger whose lead over the champion is within chance still replaces it: it knows the newer rows, and going
    back is one call. One that is behind never does.
    """
    if champion is None:
        gain = challenger.gain_over_rule
        return Verdict(gain.lower > 0, "rule", gain, _words("the recency/frequency rule", gain, gain.lower > 0))
    from feature_store.transforms import encode

    old = champion.probability(encode(test.frame, champion.inputs))
    gain = auc_gain_interval(challenger.labels, challenger.probabilities, old, seed)
    better = gain.value > min_gain
    return Verdict(better, f"version {champion.version}", gain, _words(f"version {champion.version}", gain, better))


def _words(other: str, gain: Interval, better: bool) -> str:
    verb = "beats" if better else "does not beat"
    return f"{verb} {other} by AUC {gain.value:+.4f} ({gain.lower:+.4f} to {gain.upper:+.4f})"


def promote(registry: Registry, bundles_dir: Path, tenant_id: str, model: str, version: str) -> Bundle:
    """Makes a registered version the champion, in the registry and for serving. Rolling back is the same call with an
    older version. Safe to repeat. Raises UnknownVersion, BundleCorrupt."""
    bundle = bundle_of_version(bundles_dir, tenant_id, model, version)
    mlflow_registry.set_alias(registry, model, "champion", version)
    point_champion(bundles_dir, bundle)
    logger.info("training.promoted", extra={"tenant_id": tenant_id, "model": model, "version": version})
    return bundle
