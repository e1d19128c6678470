"""Which model speaks: the gate every challenger passes, and the calls that promote and roll back."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt

from training import registry as mlflow_registry
from training.bootstrap import auc_gain_interval
from training.bundle import Bundle, bundle_of_version, champions, point_champion, read_bundle
from training.datasets import Dataset
from training.errors import NoEarlierChampion
from training.evaluate import Evaluation
from training.metrics import Interval, calibration_noise
from training.publishing import publishing
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
    challenger: Evaluation,
    test: Dataset,
    champion: Bundle | None,
    *,
    seed: int,
    min_gain: float = 0.0,
    max_calibration_error: float = 0.05,
) -> Verdict:
    """Promote when the challenger beats the champion, or the rule where there is none yet, by more than chance on the
    period both are judged by (the interval's lower end lies above `min_gain`), and its probabilities mean what they
    say. Rows the champion learnt from, as there are some where history was imported since, take no part.

    A champion that is not beaten speaks on: what callers built on its scores stays as it is.
    """
    if champion is None:
        other, against = "the recency/frequency rule", "rule"
        gain = challenger.gain_over_rule
    else:
        from feature_store.transforms import encode

        other = against = f"version {champion.version}"
        strange = _never_seen(champion, test, challenger.labels)
        old = champion.probability(encode(test.frame.filter(strange), champion.inputs))
        gain = auc_gain_interval(challenger.labels[strange], challenger.probabilities[strange], old, seed)
    better = gain.lower > min_gain
    words = f"AUC {gain.value:+.4f} ({gain.lower:+.4f} to {gain.upper:+.4f}) beside {other}"
    error = challenger.calibration_error.value - calibration_noise(challenger.probabilities)
    if better and error > max_calibration_error:
        off = f"its probabilities are off by {error:.3f} more than chance, {max_calibration_error:g} is allowed"
        return Verdict(False, against, gain, f"beats it, but {off}: {words}")
    return Verdict(better, against, gain, f"{'beats it' if better else 'does not beat it beyond chance'}: {words}")


def _never_seen(champion: Bundle, test: Dataset, labels: npt.NDArray[np.int8]) -> npt.NDArray[np.bool_]:
    """Which rows lie after all the champion learnt from, (n,); all of them where both classes do not."""
    everything = np.ones(len(labels), dtype=np.bool_)
    if "learnt" not in champion.card:
        return everything
    later = (test.frame["event_timestamp"].dt.date() > date.fromisoformat(champion.card["learnt"][1])).to_numpy()
    return later if 0 < labels[later].sum() < later.sum() else everything


def promote(
    registry: Registry, bundles_dir: Path, tenant_id: str, model: str, version: str, *, now: datetime
) -> Bundle:
    """Makes a registered version the champion, in the registry and for serving. Safe to repeat; waits for a training
    that publishes. Raises UnknownVersion, BundleCorrupt."""
    with publishing(bundles_dir, tenant_id, model):
        bundle = bundle_of_version(bundles_dir, tenant_id, model, version)
        make_champion(registry, bundles_dir, bundle, now=now)
    return bundle


def make_champion(registry: Registry, bundles_dir: Path, bundle: Bundle, *, now: datetime) -> None:
    """`promote` for whoever is publishing already."""
    tenant_id, model = str(bundle.manifest["tenant_id"]), str(bundle.manifest["model"])
    history = champions(bundles_dir, tenant_id, model)
    if not history or history[-1].digest != bundle.digest:
        point_champion(bundles_dir, bundle, history, now)
    mlflow_registry.set_alias(registry, model, "champion", bundle.version)
    logger.info("training.promoted", extra={"tenant_id": tenant_id, "model": model, "version": bundle.version})


def roll_back(registry: Registry, bundles_dir: Path, tenant_id: str, model: str, *, now: datetime) -> Bundle:
    """Makes the champion before the present one speak again; once more goes back one further. Waits for a training that
    publishes. Raises NoEarlierChampion, BundleCorrupt."""
    with publishing(bundles_dir, tenant_id, model):
        history = champions(bundles_dir, tenant_id, model)
        if len(history) < 2:
            raise NoEarlierChampion(model, history[-1].version if history else None)
        earlier = history[-2]
        bundle = read_bundle(bundles_dir / tenant_id / model / earlier.digest)
        point_champion(bundles_dir, bundle, history[:-2], now)
        mlflow_registry.set_alias(registry, model, "champion", earlier.version)
    logger.info("training.rolled_back", extra={"tenant_id": tenant_id, "model": model, "version": earlier.version})
    return bundle
