"""What training hands to serving: a folder named by its digest, holding a manifest and an ONNX graph. Never a pickle.

    <bundles_dir>/<tenant_id>/<model>/<digest>/{manifest.json, model.onnx, card.json}
    <bundles_dir>/<tenant_id>/<model>/champion.json          {"digest", "version", "history"}

`history` lists the champions so far, oldest first and the present one last: {"digest", "version", "since"}.

`card.json` (figures, importance, provenance) is for people and for explanations; the manifest holds its SHA-256, and so
the digest covers it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from training.calibration import CalibrationTable
from training.datasets import Dataset, Split
from training.errors import BundleCorrupt, ParityFailed, UnknownVersion
from training.export import to_onnx
from training.intervals import IntervalTable
from training.models import model_named
from training.train import Trained

if TYPE_CHECKING:
    from feature_store.transforms import InputColumn

SCHEMA_VERSION = 1
PARITY_LIMIT = 1e-5
CHAMPIONS_REMEMBERED = 50


@dataclass(frozen=True)
class Champion:
    """`since` is when the version began to speak (UTC, ISO 8601)."""

    version: str
    digest: str
    since: str


@dataclass(frozen=True)
class Bundle:
    """One published model, read from its folder."""

    path: Path
    manifest: Mapping[str, Any]
    card: Mapping[str, Any]

    @property
    def digest(self) -> str:
        return str(self.manifest["digest"])

    @property
    def version(self) -> str:
        return str(self.manifest["version"])

    @property
    def trained_at(self) -> datetime:
        """UTC; no label that settled later was learnt from."""
        return datetime.fromisoformat(self.manifest["trained_at"])

    @cached_property
    def inputs(self) -> list[InputColumn]:
        from feature_store.transforms import InputColumn

        return [InputColumn.from_json(given) for given in self.manifest["inputs"]]

    @cached_property
    def calibration(self) -> CalibrationTable:
        table = self.manifest["calibration"]
        return CalibrationTable(tuple(table["x"]), tuple(table["y"]))

    @cached_property
    def intervals(self) -> IntervalTable | None:
        """None of a model that tells no interval."""
        table = self.manifest.get("interval")
        if table is None:
            return None
        return IntervalTable(tuple(table["at"]), tuple(table["low"]), tuple(table["high"]), table["level"])

    @cached_property
    def session(self) -> Any:
        return onnx_session((self.path / "model.onnx").read_bytes())

    def probability(self, matrix: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Calibrated probabilities, (n,)."""
        return self.calibration.apply(run_onnx(self.session, matrix))


def onnx_session(graph: bytes, threads: int = 2) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def run_onnx(session: Any, matrix: npt.NDArray[np.float32], chunk: int = 20_000) -> npt.NDArray[np.float64]:
    """The second column of `probabilities`, (n,), before calibration. Chunks bound the memory of a wide graph."""
    if not len(matrix):
        return np.empty(0)
    parts = [
        session.run(["probabilities"], {"X": np.ascontiguousarray(matrix[start : start + chunk])})[0][:, 1]
        for start in range(0, len(matrix), chunk)
    ]
    return np.concatenate(parts).astype(np.float64)


def export_checked(trained: Trained, rows: Dataset, limit: float = PARITY_LIMIT) -> tuple[bytes, float]:
    """The ONNX graph and its largest difference from the fitted estimator over real `rows`. Raises ParityFailed."""
    graph = to_onnx(trained.estimator, len(trained.inputs))
    matrix = rows.matrix()[:5_000]
    difference = float(np.max(np.abs(trained.raw(matrix) - run_onnx(onnx_session(graph), matrix))))
    if not difference <= limit:
        raise ParityFailed(trained.model, difference, limit)
    return graph, difference


def make_manifest(trained: Trained, version: str, split: Split) -> dict[str, Any]:
    """The manifest without its digest.

    A score is read against people, each once, all asked about the reference campaign: percentiles over the sends
    themselves would call most people hot whenever the campaign asked about is better than the usual one. `ranges` are
    those of the rows learnt from: beyond them the model guesses. Without `interval` the model tells none.
    """
    people = split.newest_per_contact()
    # One that was learnt from: about the newest one, which only the rows kept to judge by may know, the model guesses.
    campaign = reference_campaign(split.learn)
    asked = people.asked_about(campaign)
    quantiles = np.quantile(trained.probability(asked.matrix()), np.linspace(0, 1, 101))
    manifest = {
        "schema_version": SCHEMA_VERSION,
        "tenant_id": trained.tenant_id,
        "model": trained.model,
        "version": version,
        "feature_service": trained.feature_service,
        "inputs": [given.to_json() for given in trained.inputs],
        "dtype": "float32",
        "ranges": ranges(trained.inputs, split.learn.matrix()),
        "calibration": trained.calibration.to_json(),
        "reference_quantiles": [float(value) for value in quantiles],
        "tiers": model_named(trained.model).tiers,
        "reference_campaign": campaign,
        "base_rate": trained.base_rate,
        "trained_at": trained.trained_at.isoformat(),
    }
    return manifest if trained.intervals is None else manifest | {"interval": trained.intervals.to_json()}


def ranges(inputs: Sequence[InputColumn], matrix: npt.NDArray[np.float32]) -> dict[str, list[float]]:
    """[least, greatest] known value by input; an input without any is left out."""
    found = {}
    for position, given in enumerate(inputs):
        known = matrix[np.isfinite(matrix[:, position]), position]
        if len(known):
            found[given.name] = [float(known.min()), float(known.max())]
    return found


def bundle_digest(graph: bytes, manifest: Mapping[str, Any]) -> str:
    """sha256 of the graph followed by the manifest without its digest: keys sorted, no spaces, ASCII."""
    bare = {name: value for name, value in manifest.items() if name != "digest"}
    canonical = json.dumps(bare, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(graph + canonical.encode()).hexdigest()


def write_bundle(bundles_dir: Path, graph: bytes, manifest: Mapping[str, Any], card: Mapping[str, Any]) -> Bundle:
    """The bundle, complete on disk under its digest. Written beside and renamed, so no reader sees half of it."""
    described = json.dumps(card, indent=1, default=str).encode()
    named = dict(manifest) | {"card_digest": hashlib.sha256(described).hexdigest()}
    digest = bundle_digest(graph, named)
    complete = named | {"digest": digest}
    folder = bundles_dir / manifest["tenant_id"] / manifest["model"]
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / digest
    beside = Path(tempfile.mkdtemp(prefix=".writing-", dir=folder))
    try:
        (beside / "model.onnx").write_bytes(graph)
        (beside / "manifest.json").write_text(json.dumps(complete, indent=1, allow_nan=False))
        (beside / "card.json").write_bytes(described)
        if not target.exists():
            os.replace(beside, target)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return read_bundle(target)


def read_bundle(path: Path) -> Bundle:
    """The bundle in a folder. Raises BundleCorrupt when its content is not what its name promises."""
    manifest = json.loads((path / "manifest.json").read_text())
    found = bundle_digest((path / "model.onnx").read_bytes(), manifest)
    if found != path.name or found != manifest["digest"]:
        raise BundleCorrupt(str(path), path.name, found)
    return Bundle(path, manifest, _read_card(path, manifest.get("card_digest")))


def _read_card(path: Path, digest: str | None) -> dict[str, Any]:
    """Bundles of before have no `digest` of their card, and the oldest no card. Raises BundleCorrupt."""
    file = path / "card.json"
    content = file.read_bytes() if file.exists() else b""
    found = hashlib.sha256(content).hexdigest()
    if digest is not None and found != digest:
        raise BundleCorrupt(str(file), digest, found)
    card: dict[str, Any] = json.loads(content or b"{}")
    return card


def champion_bundle(bundles_dir: Path, tenant_id: str, model: str) -> Bundle | None:
    """The bundle the pointer names; None before the first promotion."""
    history = champions(bundles_dir, tenant_id, model)
    return read_bundle(bundles_dir / tenant_id / model / history[-1].digest) if history else None


def champions(bundles_dir: Path, tenant_id: str, model: str) -> list[Champion]:
    """Who spoke, oldest first; the last one speaks now. Empty before the first promotion."""
    pointer = bundles_dir / tenant_id / model / "champion.json"
    if not pointer.exists():
        return []
    content = json.loads(pointer.read_text())
    # Pointers written before histories were kept name the present champion alone.
    history = content.get("history", [{"version": content["version"], "digest": content["digest"], "since": ""}])
    return [Champion(one["version"], one["digest"], one["since"]) for one in history]


def bundle_of_version(bundles_dir: Path, tenant_id: str, model: str, version: str) -> Bundle:
    """The bundle of a registered version; the newest where a registry that was begun anew counts from 1 again. Raises
    UnknownVersion."""
    manifests = {
        path: json.loads(path.read_text()) for path in (bundles_dir / tenant_id / model).glob("*/manifest.json")
    }
    found = [path for path, manifest in manifests.items() if str(manifest["version"]) == version]
    if not found:
        raise UnknownVersion(model, version)
    return read_bundle(max(found, key=lambda path: manifests[path]["trained_at"]).parent)


def point_champion(bundles_dir: Path, bundle: Bundle, earlier: Sequence[Champion], now: datetime) -> None:
    """Makes the bundle its model's champion for every process that follows the pointer, with those before it as its
    history. Atomic."""
    folder = bundles_dir / str(bundle.manifest["tenant_id"]) / str(bundle.manifest["model"])
    history = [*earlier, Champion(bundle.version, bundle.digest, now.isoformat())][-CHAMPIONS_REMEMBERED:]
    content = {"digest": bundle.digest, "version": bundle.version, "history": [asdict(one) for one in history]}
    handle, name = tempfile.mkstemp(prefix=".champion-", dir=folder)
    with os.fdopen(handle, "w") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(name, folder / "champion.json")


def reference_campaign(rows: Dataset) -> dict[str, Any]:
    """Attributes of the campaign most of the rows came from: what is assumed when a caller names none."""
    if "campaign_attributes" not in rows.frame.columns:
        return {}
    counted = (
        rows.frame.drop_nulls("campaign_attributes")
        .group_by("campaign_attributes")
        .len()
        .sort("len", "campaign_attributes", descending=[True, False])
    )
    if counted.is_empty():
        return {}
    return dict(json.loads(counted["campaign_attributes"][0]))
