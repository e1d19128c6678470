"""What a training that was stopped half-way leaves behind, and that nothing of it stays."""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

from training import registry as mlflow_registry
from training.bundle import champions
from training.publishing import publishing
from training.registry import BUNDLE_DIGEST, Registry

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def none_left(registry: Registry, bundles_dir: Path, tenant_id: str, model: str) -> Iterator[None]:
    """Publishes a model's version whole or not at all: what is within is undone when it is interrupted, and what a
    killed process could not undo before. Waits for another process that publishes the same tenant's model."""
    with publishing(bundles_dir, tenant_id, model):
        clear(registry, bundles_dir, tenant_id, model)
        try:
            yield
        except BaseException:
            clear(registry, bundles_dir, tenant_id, model)
            raise


def clear(registry: Registry, bundles_dir: Path, tenant_id: str, model: str) -> None:
    """Only while nobody publishes: removes versions without a bundle, bundles without a version and files half written;
    ends runs nobody is at; lets the registry name the champion that speaks."""
    folder, client, name = bundles_dir / tenant_id / model, registry.client(), registry.model_name(model)
    speaking = champions(bundles_dir, tenant_id, model)
    champion = speaking[-1].version if speaking else None
    registered = client.search_model_versions(f"name = '{name}'")
    half = {str(one.version) for one in registered if BUNDLE_DIGEST not in one.tags and str(one.version) != champion}
    for version in half:
        client.delete_model_version(name, version)
        logger.warning("training.half_version_removed", extra={"model": name, "version": version})
    for beside in (*folder.glob(".writing-*"), *folder.glob(".champion-*")):
        shutil.rmtree(beside) if beside.is_dir() else beside.unlink()
    for manifest in folder.glob("*/manifest.json"):
        spoke = manifest.parent.name in {one.digest for one in speaking}
        if not spoke and str(json.loads(manifest.read_text())["version"]) in half:
            shutil.rmtree(manifest.parent)
    experiment = client.get_experiment_by_name(registry.tenant_slug)
    running = f"attributes.status = 'RUNNING' and tags.model = '{model}'"
    for run in client.search_runs([experiment.experiment_id], running) if experiment else []:
        client.set_terminated(run.info.run_id, "KILLED")
    # A registry begun anew knows nothing of a champion from before.
    known = champion in {str(one.version) for one in registered}
    if champion and known and mlflow_registry.version_of_alias(registry, model, "champion") != champion:
        mlflow_registry.set_alias(registry, model, "champion", champion)
