"""Experiments and registered models in MLflow: one experiment a tenant, one registered model a decision.

mlflow costs seconds to import, so only these functions do it. What serves is the bundle; MLflow remembers why.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from training.evaluate import Evaluation
from training.train import Trained

# Read when MLflow is imported; it would tell its makers what is trained here, and how often.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

logger = logging.getLogger(__name__)
SERVED_WITH = ("onnxruntime", "numpy")
# The tag of a version whose bundle is complete on disk; one without was never published whole.
BUNDLE_DIGEST = "bundle_digest"


@dataclass(frozen=True)
class Registry:
    """Where one tenant's experiments live. `tracking_uri` is `sqlite:///...` or a server's http address."""

    tracking_uri: str
    tenant_slug: str
    artifacts_dir: Path | None = None

    def model_name(self, model: str) -> str:
        return f"{self.tenant_slug}.{model}"

    def client(self) -> Any:
        os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
        if self.tracking_uri.startswith("sqlite:///"):
            Path(self.tracking_uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        # The first use of a database file prints its whole migration history.
        logging.getLogger("alembic").setLevel(logging.WARNING)
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri=self.tracking_uri, registry_uri=self.tracking_uri)

    def experiment_id(self, client: Any) -> str:
        found = client.get_experiment_by_name(self.tenant_slug)
        if found is None:
            _unless_there(client.create_experiment, self.tenant_slug, artifact_location=self._artifact_location())
            found = client.get_experiment_by_name(self.tenant_slug)
        return str(found.experiment_id)

    def _artifact_location(self) -> str | None:
        """A folder of ours for a database file; a server knows its own. Without it mlflow writes to the working
        folder."""
        if not self.tracking_uri.startswith("sqlite:///"):
            return None
        beside = Path(self.tracking_uri.removeprefix("sqlite:///")).parent / "artifacts"
        folder = (self.artifacts_dir or beside) / self.tenant_slug
        return folder.absolute().as_uri()


@dataclass(frozen=True)
class RegisteredVersion:
    name: str
    version: str
    run_id: str


@contextmanager
def _run(registry: Registry, name: str, tags: Mapping[str, str]) -> Iterator[tuple[Any, str]]:
    """A client and the id of a run that is ended as it deserves."""
    client = registry.client()
    run_id = str(client.create_run(registry.experiment_id(client), run_name=name, tags=dict(tags)).info.run_id)
    try:
        yield client, run_id
    except BaseException:
        client.set_terminated(run_id, "FAILED")
        raise
    client.set_terminated(run_id)


def log_training(
    registry: Registry,
    trained: Trained,
    evaluation: Evaluation,
    pictures: Mapping[str, bytes],
    graph: bytes,
    example: Any,
    tags: Mapping[str, str],
) -> RegisteredVersion:
    """A run with parameters, figures, pictures and the model, registered as the decision's newest version.

    `example` is a matrix of a few rows, for the signature.
    """
    from mlflow.entities import Metric, Param, RunTag

    name = registry.model_name(trained.model)
    all_tags = dict(tags) | {
        "model": trained.model,
        "tenant_id": trained.tenant_id,
        "feature_service": trained.feature_service,
        "dataset_digest": trained.dataset_digest,
        "outcome": "trained",
    }
    with _run(registry, trained.model, all_tags) as (client, run_id), tempfile.TemporaryDirectory() as scratch:
        stamp = int(trained.trained_at.timestamp() * 1000)
        figures = evaluation.figures() | {"fit_seconds": trained.seconds, "fit_rows": float(trained.rows)}
        client.log_batch(
            run_id,
            metrics=[Metric(key, value, stamp, 0) for key, value in figures.items()],
            params=[Param(key, str(value)) for key, value in (dict(trained.params) | {"seed": trained.seed}).items()],
            tags=[RunTag("split", evaluation.split)],
        )
        client.log_inputs(run_id, [_dataset(trained, evaluation)])
        folder = Path(scratch)
        for picture, content in pictures.items():
            (folder / f"{picture}.png").write_bytes(content)
        (folder / "deciles.json").write_text(json.dumps([vars(row) for row in evaluation.deciles], indent=1))
        client.log_artifacts(run_id, str(folder), "evaluation")
        names = [column.name for column in trained.inputs]
        source = _log_model(client, run_id, graph, example, names, folder / "model")
        _unless_there(client.create_registered_model, name)
        made = client.create_model_version(name, source, run_id=run_id, tags=all_tags)
        registered = RegisteredVersion(name, str(made.version), run_id)
    logger.info("training.version_registered", extra={"model": name, "version": registered.version})
    return registered


def _dataset(trained: Trained, evaluation: Evaluation) -> Any:
    """What was learnt from, as MLflow's pages show it: a digest there has 36 characters at most."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    source = {"feature_service": trained.feature_service, "tenant_id": trained.tenant_id, "split": evaluation.split}
    profile = {"rows": trained.rows, "base_rate": trained.base_rate, "dataset_digest": trained.dataset_digest}
    dataset = Dataset(
        name=trained.feature_service,
        digest=trained.dataset_digest[:36],
        source_type="warehouse",
        source=json.dumps(source),
        profile=json.dumps(profile),
    )
    return DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])


def _log_model(client: Any, run_id: str, graph: bytes, example: Any, inputs: list[str], folder: Path) -> str:
    """An ONNX model folder in the run's artifacts, and its address. The signature is that of the graph, one tensor;
    `inputs` name its columns. Requirements are stated, not inferred: inferring starts a second interpreter and takes
    ten seconds."""
    import mlflow.onnx
    import onnx
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    signature = ModelSignature(
        inputs=Schema([TensorSpec(example.dtype, (-1, example.shape[1]), "X")]),
        outputs=Schema([TensorSpec(example.dtype, (-1, 2), "probabilities")]),
    )
    mlflow.onnx.save_model(
        onnx.load_model_from_string(graph),
        str(folder),
        signature=signature,
        metadata={"inputs": inputs},
        pip_requirements=[f"{package}=={version(package)}" for package in SERVED_WITH],
    )
    client.log_artifacts(run_id, str(folder), "model")
    return f"{client.get_run(run_id).info.artifact_uri}/model"


def _unless_there(create: Callable[..., Any], name: str, **given: Any) -> None:
    """Creates it, unless somebody else did meanwhile."""
    from mlflow.exceptions import MlflowException

    try:
        create(name, **given)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def log_bundle(
    registry: Registry, registered: RegisteredVersion, bundle_path: Path, digest: str, described: str
) -> None:
    """The bundle's manifest and card beside the run's model, its digest on the version, and what `described` (Markdown)
    says of it on the version's page."""
    client = registry.client()
    for name in ("manifest.json", "card.json"):
        client.log_artifact(registered.run_id, str(bundle_path / name), "bundle")
    client.update_model_version(registered.name, registered.version, described)
    client.set_model_version_tag(registered.name, registered.version, BUNDLE_DIGEST, digest)


def log_abstention(registry: Registry, model: str, tenant_id: str, why: str, tags: Mapping[str, str]) -> str:
    """The id of a run that records that nothing was fitted, and why."""
    noted = dict(tags) | {"model": model, "tenant_id": tenant_id, "outcome": "abstained", "why": why}
    with _run(registry, model, noted) as (_, run_id):
        return run_id


def set_alias(registry: Registry, model: str, alias: str, version: str) -> None:
    registry.client().set_registered_model_alias(registry.model_name(model), alias, version)


def version_of_alias(registry: Registry, model: str, alias: str) -> str | None:
    """The version an alias names; None when nothing carries it."""
    from mlflow.exceptions import MlflowException

    try:
        return str(registry.client().get_model_version_by_alias(registry.model_name(model), alias).version)
    except MlflowException:
        return None


@dataclass(frozen=True)
class VersionRecord:
    """What the registry remembers of a version. `figures` are its run's metrics, `gate` why it may speak or not."""

    version: str
    run_id: str
    registered_at: datetime
    aliases: tuple[str, ...]
    gate: str
    figures: Mapping[str, float]


def versions(registry: Registry, model: str) -> list[VersionRecord]:
    """The tenant's versions of a model, newest first; none that was not published whole."""
    client = registry.client()
    name = registry.model_name(model)
    found = client.search_model_versions(f"name = '{name}'", order_by=["version_number DESC"])
    if not found:
        return []
    by_version: dict[str, list[str]] = {}
    for alias, number in client.get_registered_model(name).aliases.items():
        by_version.setdefault(str(number), []).append(alias)
    return [
        VersionRecord(
            version=str(one.version),
            run_id=str(one.run_id),
            registered_at=datetime.fromtimestamp(one.creation_timestamp / 1000, UTC),
            aliases=tuple(sorted(by_version.get(str(one.version), []))),
            gate=str(one.tags.get("gate", "")),
            figures=dict(client.get_run(one.run_id).data.metrics),
        )
        for one in found
        if BUNDLE_DIGEST in one.tags
    ]
