"""Promoted models as the API runs them: a manifest and an ONNX graph, loaded by digest and swapped while serving."""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import json
import logging
import re
import uuid
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from feature_store.feature_services import FEATURE_SERVICES, FeatureService
from feature_store.online import OnlineFeatures
from feature_store.transforms import InputColumn, encode_online
from serving.errors import Conflict, Unavailable

if TYPE_CHECKING:
    import onnxruntime

SCHEMA_VERSION = 1
LOADED_BUNDLES = 64
RANKED = ("lead_scoring",)
_DIGEST = re.compile(r"[0-9a-f]{64}")

log = logging.getLogger(__name__)


class ModelNotTrained(Conflict):
    title = "No model of this kind has been promoted for the tenant yet"


class BundleBroken(Unavailable):
    title = "The promoted model cannot be loaded"


@dataclass(frozen=True, slots=True)
class Predictions:
    """One value a row. `probability` is calibrated, in [0, 1]; `score`, 0-100, is a lead's percentile among the people
    the model was calibrated on, and the probability in per cent of other models; `tier` is the band of the score."""

    probability: NDArray[np.float64]
    score: NDArray[np.float64]
    tier: list[str]


@dataclass(frozen=True, slots=True)
class Bundle:
    model: str
    version: str
    digest: str
    service: FeatureService
    inputs: tuple[InputColumn, ...]
    reference_campaign: Mapping[str, Any]
    _calibration: tuple[NDArray[np.float64], NDArray[np.float64]]
    _quantiles: NDArray[np.float64]
    _tiers: tuple[tuple[str, float], ...]
    _session: onnxruntime.InferenceSession

    def predict(
        self, features: OnlineFeatures, campaign_attributes: Mapping[str, Any] | None, at: dt.datetime
    ) -> Predictions:
        """One prediction for each of the features' contacts, asked at `at` about the campaign, or the reference one.

        Raises: BundleBroken when the graph gives no number.
        """
        campaign = self.reference_campaign if campaign_attributes is None else campaign_attributes
        matrix = encode_online(features, self.inputs, campaign, at)
        raw = self._session.run(["probabilities"], {"X": matrix})[0][:, 1].astype(np.float64)
        if not np.isfinite(raw).all():
            raise BundleBroken("it gave no number for some input")
        probability = np.clip(np.interp(raw, *self._calibration), 0.0, 1.0)
        score = percentile(probability, self._quantiles) if self.model in RANKED else 100 * probability
        return Predictions(probability, score.round(2), [self.tier(value) for value in score])

    def tier(self, score: float) -> str:
        """The highest tier whose threshold the score reaches; the lowest tier when it reaches none."""
        return next((name for name, threshold in self._tiers if score >= threshold), self._tiers[-1][0])


def percentile(probability: NDArray[np.float64], quantiles: NDArray[np.float64]) -> NDArray[np.float64]:
    """0-100, linear between the 101 quantiles; where several tie, the middle of the tie. As scores made offline."""
    below = np.searchsorted(quantiles, probability, side="left")
    above = np.searchsorted(quantiles, probability, side="right")
    between = np.interp(probability, quantiles, np.arange(quantiles.size))
    return np.where(above > below, (below + above - 1) / 2, between)


def bundle_digest(graph: bytes, manifest: Mapping[str, Any]) -> str:
    """SHA-256 (hex) over the graph and the manifest without its digest, as JSON with sorted keys and no spaces."""
    described = {name: value for name, value in manifest.items() if name != "digest"}
    canonical = json.dumps(described, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(graph + canonical.encode()).hexdigest()


def load_bundle(folder: Path, *, tenant_id: uuid.UUID, model: str, digest: str) -> Bundle:
    """The bundle in `folder`. Raises: BundleBroken when it is not what its digest, its place or its schema says."""
    import onnxruntime

    try:
        manifest = json.loads((folder / "manifest.json").read_bytes())
        graph = (folder / "model.onnx").read_bytes()
        if bundle_digest(graph, manifest) != digest or manifest["digest"] != digest:
            raise BundleBroken("its files do not have its digest")
        if (manifest["tenant_id"], manifest["model"]) != (str(tenant_id), model):
            raise BundleBroken("it belongs to another tenant or model")
        if manifest["schema_version"] != SCHEMA_VERSION:
            raise BundleBroken("its schema is of another version")
        options = onnxruntime.SessionOptions()
        # One row takes microseconds; threads of its own would only contend with the server's.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        inputs = tuple(InputColumn.from_json(column) for column in manifest["inputs"])
        if session.get_inputs()[0].shape[1] != len(inputs):
            raise BundleBroken("its graph takes another number of inputs than its manifest names")
        calibration = manifest["calibration"]
        tiers = sorted(manifest["tiers"].items(), key=lambda item: -item[1])
        return Bundle(
            model=model,
            version=str(manifest["version"]),
            digest=digest,
            service=FEATURE_SERVICES[manifest["feature_service"]],
            inputs=inputs,
            reference_campaign=manifest["reference_campaign"] or {},
            _calibration=(np.array(calibration["x"], float), np.array(calibration["y"], float)),
            _quantiles=np.array(manifest["reference_quantiles"], float),
            _tiers=tuple(tiers),
            _session=session,
        )
    except BundleBroken:
        raise
    except Exception as error:  # onnxruntime raises its own types, which are not exported under stable names
        raise BundleBroken("its files cannot be read") from error


class Bundles:
    """The champions under a folder, at most LOADED_BUNDLES of them in memory.

    A champion is looked up by the state of its pointer file, so a promotion shows with the next request. When the new
    bundle cannot be loaded, the old one goes on serving and the error is logged.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._loaded: OrderedDict[tuple[uuid.UUID, str], tuple[tuple[int, ...], Bundle]] = OrderedDict()
        self._loading: dict[tuple[uuid.UUID, str], asyncio.Lock] = {}

    async def champion(self, tenant_id: uuid.UUID, model: str) -> Bundle:
        """The tenant's promoted model. Raises: ModelNotTrained, BundleBroken."""
        key = (tenant_id, model)
        state = self._state(key)
        if (held := self._held(key, state)) is not None:
            return held
        async with self._loading.setdefault(key, asyncio.Lock()):
            state = self._state(key)
            if (held := self._held(key, state)) is not None:
                return held
            bundle = await asyncio.to_thread(self._load, key)
            self._loaded[key] = (state, bundle)
            self._loaded.move_to_end(key)
            while len(self._loaded) > LOADED_BUNDLES:
                self._loaded.popitem(last=False)
            return bundle

    def _pointer(self, key: tuple[uuid.UUID, str]) -> Path:
        return self._folder / str(key[0]) / key[1] / "champion.json"

    def _state(self, key: tuple[uuid.UUID, str]) -> tuple[int, ...]:
        try:
            found = self._pointer(key).stat()
        except OSError as error:
            self._loaded.pop(key, None)
            raise ModelNotTrained from error
        return (found.st_mtime_ns, found.st_ino, found.st_size)

    def _held(self, key: tuple[uuid.UUID, str], state: tuple[int, ...]) -> Bundle | None:
        held = self._loaded.get(key)
        if held is None or held[0] != state:
            return None
        self._loaded.move_to_end(key)
        return held[1]

    def _load(self, key: tuple[uuid.UUID, str]) -> Bundle:
        pointer = self._pointer(key)
        try:
            digest = _pointed_at(pointer)
            return load_bundle(pointer.parent / digest, tenant_id=key[0], model=key[1], digest=digest)
        except BundleBroken:
            previous = self._loaded.get(key)
            log.exception("bundle.broken", extra={"tenant_id": str(key[0]), "model": key[1]})
            if previous is None:
                raise
            return previous[1]


def _pointed_at(pointer: Path) -> str:
    try:
        digest = json.loads(pointer.read_bytes())["digest"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleBroken("its pointer cannot be read") from error
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise BundleBroken("its pointer holds no digest")
    return digest
