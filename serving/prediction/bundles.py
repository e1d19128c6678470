"""Promoted models as the API runs them: a manifest and an ONNX graph, loaded by digest, never a pickle."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from feature_store.feature_services import CLOCK, FEATURE_SERVICES, FeatureService
from feature_store.online import OnlineFeatures
from feature_store.transforms import InputColumn, encode_moments, encode_online
from serving.errors import Conflict, Unavailable
from serving.prediction.trees import BoostedTrees, boosted_trees

if TYPE_CHECKING:
    import onnxruntime

T = TypeVar("T")

SCHEMA_VERSION = 1
# Of every input: how a row is laid out for the graph.
DTYPE = "float32"
RANKED = ("lead_scoring",)
# Of a probability: the parity that is asked of an export.
ROUNDING = 1e-5
# So many rows are judged sooner all at once than one by one.
_MANY_ROWS = 64
# What a session keeps beside its graph, as measured: its nodes unpacked for evaluation, and its own tables.
_SESSION_BYTES_A_GRAPH_BYTE = 4
_SESSION_BYTES = 1_000_000


class ModelNotTrained(Conflict):
    title = "No model of this kind has been promoted for the tenant yet"


class BundleBroken(Unavailable):
    title = "The promoted model cannot be loaded"


class CardMissing(Conflict):
    title = "The promoted model came without the card that explanations need"


@dataclass(frozen=True, slots=True)
class Intervals:
    """One interval a row: where, with confidence `level`, that person's own probability lies."""

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    level: float


@dataclass(frozen=True, slots=True)
class Coded(Generic[T]):
    """One value a row, where there are few different ones: the values, and which of them each row has, (n,)."""

    values: Sequence[T]
    which: NDArray[np.intp]

    def rows(self) -> list[T]:
        """The value of each row."""
        return [self.values[each] for each in self.which.tolist()]


@dataclass(frozen=True, slots=True)
class Predictions:
    """One value a row. `probability` is calibrated, in [0, 1]; `score`, 0-100, is a lead's percentile among the people
    the model was calibrated on, and the probability in per cent of other models; `tier` is the band of the score.
    `interval` is None where the model was trained without."""

    probability: NDArray[np.float64]
    score: NDArray[np.float64]
    tier: Coded[str]
    interval: Intervals | None = None

    def intervals(self) -> list[dict[str, float] | None]:
        """For each row what `schemas.Interval` describes, or None."""
        if self.interval is None:
            return [None] * len(self.score)
        level = self.interval.level
        ends = zip(self.interval.low.tolist(), self.interval.high.tolist(), strict=True)
        return [{"low": low, "high": high, "level": level} for low, high in ends]


@dataclass(frozen=True, slots=True)
class _IntervalTable:
    """The ends of the interval by calibrated probability, ascending."""

    at: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    level: float

    def around(self, probability: NDArray[np.float64], place: NDArray[np.intp]) -> Intervals:
        """Of ascending probabilities, each put in its place."""
        low = np.interp(probability, self.at, self.low).clip(0, 1)
        high = np.interp(probability, self.at, self.high).clip(0, 1)
        return Intervals(low[place], high[place], self.level)


# Compared by identity: two loads of one digest are still two sessions.
@dataclass(frozen=True, eq=False)
class Bundle:
    """`size` is what it takes in memory, in bytes, estimated from its graph."""

    model: str
    version: str
    digest: str
    service: FeatureService
    inputs: tuple[InputColumn, ...]
    reference_campaign: Mapping[str, Any]
    trained_at: dt.datetime
    size: int
    _folder: Path
    _ranges: NDArray[np.float32]
    _calibration: tuple[NDArray[np.float64], NDArray[np.float64]]
    _quantiles: NDArray[np.float64]
    # From the lowest up.
    _tiers: tuple[tuple[str, float], ...]
    _interval: _IntervalTable | None
    _card_digest: str | None
    _session: onnxruntime.InferenceSession
    # The same graph for many rows; None where only the session runs it.
    _trees: BoostedTrees | None

    @cached_property
    def card(self) -> Mapping[str, Any]:
        """Figures, importance and reference values. Raises: CardMissing; BundleBroken when it is not the one the
        manifest names."""
        try:
            content = (self._folder / "card.json").read_bytes()
            # Manifests of before name none.
            if self._card_digest is not None and hashlib.sha256(content).hexdigest() != self._card_digest:
                raise BundleBroken("its card is not the one it was published with")
            card: dict[str, Any] = json.loads(content)
        except (OSError, ValueError) as error:
            raise CardMissing from error
        return card

    @cached_property
    def asks_for_the_clock(self) -> bool:
        """Whether it matters what the tenant's clock shows."""
        return any(each.source == "on_demand" and each.field in CLOCK for each in self.inputs)

    @property
    def interval_level(self) -> float | None:
        """The confidence of its intervals; None when it tells none."""
        return None if self._interval is None else self._interval.level

    def encode(
        self, features: OnlineFeatures, campaign_attributes: Mapping[str, Any] | None, at: dt.datetime
    ) -> NDArray[np.float32]:
        """(n, len(inputs)): the contacts asked about at `at` (UTC), about the campaign or the reference one."""
        campaign = self.reference_campaign if campaign_attributes is None else campaign_attributes
        return encode_online(features, self.inputs, campaign, at)

    def encode_moments(
        self, one: OnlineFeatures, campaign_attributes: Mapping[str, Any] | None, moments: Sequence[dt.datetime]
    ) -> NDArray[np.float32]:
        """(len(moments), len(inputs)): `encode` for one contact at each moment."""
        campaign = self.reference_campaign if campaign_attributes is None else campaign_attributes
        return encode_moments(one, self.inputs, campaign, moments)

    def probability(self, matrix: NDArray[np.float32]) -> NDArray[np.float64]:
        """Calibrated, (n,). Raises: BundleBroken when the graph gives no number."""
        return self._calibrated(self._raw(matrix))

    def _raw(self, matrix: NDArray[np.float32]) -> NDArray[np.float64]:
        """As the graph gives it, (n,). Raises: BundleBroken."""
        if self._trees is not None and len(matrix) >= _MANY_ROWS:
            raw = self._trees.probability(matrix)
        else:
            raw = self._session.run(["probabilities"], {"X": matrix})[0][:, 1].astype(np.float64)
        if not np.isfinite(raw).all():
            raise BundleBroken("it gave no number for some input")
        return raw

    def _calibrated(self, raw: NDArray[np.float64]) -> NDArray[np.float64]:
        calibrated: NDArray[np.float64] = np.clip(np.interp(raw, *self._calibration), 0.0, 1.0)
        return calibrated

    def judge(self, matrix: NDArray[np.float32]) -> Predictions:
        """One prediction a row. Raises: BundleBroken."""
        raw = self._raw(matrix)
        # In order, every table is looked up next to where it was looked up before.
        order = raw.argsort()
        place = order.argsort()
        probability = self._calibrated(raw[order])
        score = percentile(probability, self._quantiles) if self.model in RANKED else 100 * probability
        interval = None if self._interval is None else self._interval.around(probability, place)
        told = score.round(2)[place]
        return Predictions(probability[place], told, self.tiers_of(told), interval)

    def out_of_range(self, matrix: NDArray[np.float32]) -> Coded[Sequence[str]]:
        """For each row the inputs whose values lie outside what training saw; empty when the bundle tells no ranges."""
        columns, (least, greatest) = matrix.T, self._ranges
        outside = (columns < least[:, None]) | (columns > greatest[:, None])
        left = outside.any(axis=1).nonzero()[0]
        which = np.zeros(len(matrix), np.intp)
        if not left.size:
            return Coded([()], which)
        # Few inputs are left by any row, and many rows leave the same ones.
        outside = outside[left]
        for eight in np.packbits(outside, axis=0):
            first, which = np.unique(which * 256 + eight, return_index=True, return_inverse=True)[1:]
        names = [self.inputs[column].name for column in left]
        return Coded([tuple(compress(names, told)) for told in outside[:, first].T.tolist()], which)

    def tiers_of(self, score: NDArray[np.float64]) -> Coded[str]:
        """The highest tier whose threshold each score lies above; the lowest tier when it lies above none."""
        thresholds = np.array([threshold for _, threshold in self._tiers[1:]])
        return Coded([name for name, _ in self._tiers], thresholds.searchsorted(score, side="left"))


def percentile(probability: NDArray[np.float64], quantiles: NDArray[np.float64]) -> NDArray[np.float64]:
    """0-100, linear between the 101 quantiles; where several tie, the middle of the tie. As scores made offline.

    Quantiles are those of the fitted model: whoever ties with them is within ROUNDING of them."""
    below = np.searchsorted(quantiles, probability * (1 - ROUNDING), side="left")
    above = np.searchsorted(quantiles, probability * (1 + ROUNDING), side="right")
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
        # One row takes microseconds; threads of its own would only contend with the server's. Nor does a session keep
        # the memory of its largest batch: there are hundreds of them.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.enable_cpu_mem_arena = False
        session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        inputs = tuple(InputColumn.from_json(column) for column in manifest["inputs"])
        asked = session.get_inputs()[0]
        if asked.shape[1] != len(inputs):
            raise BundleBroken("its graph takes another number of inputs than its manifest names")
        # Manifests of before name no type.
        if (asked.type, manifest.get("dtype", DTYPE)) != ("tensor(float)", DTYPE):
            raise BundleBroken(f"its inputs are not {DTYPE}")
        calibration = manifest["calibration"]
        tiers = sorted(manifest["tiers"].items(), key=lambda item: item[1])
        return Bundle(
            model=model,
            version=str(manifest["version"]),
            digest=digest,
            service=FEATURE_SERVICES[manifest["feature_service"]],
            inputs=inputs,
            reference_campaign=manifest["reference_campaign"] or {},
            trained_at=dt.datetime.fromisoformat(manifest["trained_at"]),
            size=_SESSION_BYTES + _SESSION_BYTES_A_GRAPH_BYTE * len(graph),
            _folder=folder,
            _ranges=_ranges(manifest.get("ranges") or {}, inputs),
            _calibration=(np.array(calibration["x"], float), np.array(calibration["y"], float)),
            _quantiles=np.array(manifest["reference_quantiles"], float),
            _tiers=tuple(tiers),
            _interval=_interval_table(manifest.get("interval")),
            _card_digest=manifest.get("card_digest"),
            _session=session,
            _trees=boosted_trees(graph),
        )
    except BundleBroken:
        raise
    except Exception as error:  # onnxruntime raises its own types, which are not exported under stable names
        raise BundleBroken("its files cannot be read") from error


def _interval_table(given: Mapping[str, Any] | None) -> _IntervalTable | None:
    """None for a bundle written without. Raises: BundleBroken."""
    if given is None:
        return None
    at, low, high = (np.array(given[name], float) for name in ("at", "low", "high"))
    sound = at.size and at.shape == low.shape == high.shape and np.isfinite([at, low, high]).all()
    if not sound or (np.diff(at) < 0).any() or (low > high).any():
        raise BundleBroken("its table of intervals is none")
    return _IntervalTable(at, low, high, float(given["level"]))


def _ranges(given: Mapping[str, tuple[float, float]], inputs: tuple[InputColumn, ...]) -> NDArray[np.float32]:
    """(2, k): the least and the greatest value training saw of each input, without bounds where it tells none."""
    unbounded = (-np.inf, np.inf)
    bounds = np.array([given.get(column.name) or unbounded for column in inputs], float).reshape(-1, 2).T
    # float32 matrices are compared with bounds noted from float64 ones.
    slack = 1e-6 * np.maximum(1.0, np.where(np.isfinite(bounds), np.abs(bounds), 1.0))
    return np.stack([bounds[0] - slack[0], bounds[1] + slack[1]]).astype(np.float32)
