"""Training sets: a spine with settled labels, joined to what was known at each row's moment; and honest splits."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from training.errors import EmptySplit, TooFewLabels
from training.models import model_named
from training.models.churn import Windows

if TYPE_CHECKING:
    from feature_store.transforms import InputColumn, ModelInputs
    from feature_store.warehouse import Warehouse

SPINE_COLUMNS = ("tenant_id", "contact_id", "event_timestamp", "message_id", "campaign_id", "label_known_at")
MAX_ROWS = 100_000


@dataclass(frozen=True)
class Dataset:
    """Rows to learn from, oldest first. `frame` holds spine columns, features as they were known, and `label` (0/1).

    `inputs` are the columns of the model's float32 matrix; `digest` names the content: same rows, same digest.
    """

    model: str
    tenant_id: str
    frame: pl.DataFrame
    inputs: Sequence[InputColumn]
    feature_service: str
    digest: str
    label: str = "label"
    excluded: Mapping[str, int] = field(default_factory=dict)

    def matrix(self) -> npt.NDArray[np.float32]:
        """(n, k) float32, columns as in `inputs`. Encoded once, and read-only: all who ask share it."""
        return self._matrix

    @cached_property
    def _matrix(self) -> npt.NDArray[np.float32]:
        from feature_store.transforms import encode

        encoded = encode(self.frame, list(self.inputs))
        encoded.flags.writeable = False
        return encoded

    def labels(self) -> npt.NDArray[np.int8]:
        return self.frame[self.label].cast(pl.Int8).to_numpy()

    @property
    def spine_columns(self) -> list[str]:
        return [name for name in SPINE_COLUMNS if name in self.frame.columns]

    def asked_about(self, campaign: Mapping[str, Any]) -> Dataset:
        """The same rows as if this campaign had been sent in each."""
        if "campaign_attributes" not in self.frame.columns:
            return self
        return replace(self, frame=self.frame.with_columns(pl.lit(json.dumps(campaign)).alias("campaign_attributes")))

    def rows(self, kept: pl.Series | pl.Expr) -> Dataset:
        """The same dataset with fewer rows and the inputs it had."""
        frame = self.frame.filter(kept)
        return replace(self, frame=frame, digest=content_digest(frame, self.inputs))


def build_dataset(
    warehouse: Warehouse,
    tenant_id: str,
    model: str,
    now: datetime,
    model_inputs: ModelInputs,
    max_rows: int = MAX_ROWS,
    min_labels_per_class: int = 50,
    churn_windows: Windows | None = None,
) -> Dataset:
    """One tenant's training set of a model, with every label settled by `now`.

    `model_inputs` are the tenant's typed attributes ({"contact": {"age": "number"}, "campaign": {...}}). Above
    `max_rows` whole contacts are sampled by hash, the same ones each time. `churn_windows` are the tenant's own, where
    it set any. Raises TooFewLabels.
    """
    from feature_store.feature_services import FEATURE_SERVICES
    from feature_store.retrieval import get_historical_features
    from feature_store.transforms import fit_inputs

    chosen = model_named(model, churn_windows)
    spine = chosen.build_spine(warehouse, tenant_id, now, max_rows)
    positives = int(spine.frame["label"].sum())
    require_labels(model, positives, spine.frame.height - positives, min_labels_per_class)
    service = FEATURE_SERVICES[chosen.feature_service]
    frame = get_historical_features(warehouse, spine.frame, service)
    inputs = fit_inputs(frame, service, model_inputs)
    return Dataset(
        model=model,
        tenant_id=tenant_id,
        frame=frame,
        inputs=inputs,
        feature_service=chosen.feature_service,
        digest=content_digest(frame, inputs),
        excluded=spine.excluded,
    )


def require_labels(model: str, positives: int, negatives: int, required: int) -> None:
    """Raises TooFewLabels when a class has fewer than `required` rows."""
    if min(positives, negatives) < required:
        raise TooFewLabels(model, positives, negatives, required)


def content_digest(frame: pl.DataFrame, inputs: Sequence[InputColumn]) -> str:
    """sha256 over the inputs' declaration and every row, in order."""
    hashed = hashlib.sha256(json.dumps([given.to_json() for given in inputs], sort_keys=True).encode())
    hashed.update(json.dumps({name: str(kind) for name, kind in frame.schema.items()}).encode())
    # Polars' row hash is seeded but fixed within a version; the lock pins the version.
    hashed.update(frame.hash_rows(seed=0).to_numpy().tobytes())
    return hashed.hexdigest()


@dataclass(frozen=True)
class Split:
    """Disjoint parts: `fit` and the later `calibrate` to learn from (together `learn`), `test` to be judged by.
    `digest` names what is learnt from."""

    fit: Dataset
    calibrate: Dataset
    test: Dataset
    kind: str
    digest: str

    @cached_property
    def learn(self) -> Dataset:
        """Everything learnt from, oldest first."""
        return replace(self.fit, frame=pl.concat([self.fit.frame, self.calibrate.frame]), digest=self.digest)

    def newest_per_contact(self) -> Dataset:
        """Everybody once, as last seen in any part: the people a score is read against. Labels play no role in that."""
        frame = pl.concat([self.fit.frame, self.calibrate.frame, self.test.frame])
        newest = frame.sort("event_timestamp").unique("contact_id", keep="last", maintain_order=True)
        return replace(self.fit, frame=newest, digest=content_digest(newest, self.fit.inputs))


def split_at(dataset: Dataset, cutoff: datetime, calibrate_share: float = 0.2) -> Split:
    """What was settled by `cutoff` to learn from, what happened from `cutoff` on to be judged by. Never shuffled.

    A row before the cutoff whose label was still open then is in neither part: at the cutoff nobody knew it.
    Raises EmptySplit when a part lacks a class.
    """
    known = dataset.frame["label_known_at"] <= cutoff
    learn = dataset.rows(known & (dataset.frame["event_timestamp"] < cutoff))
    test = dataset.rows(dataset.frame["event_timestamp"] >= cutoff)
    return _checked(*_later_slice(learn, calibrate_share), test, kind="later period")


def split_by_time(dataset: Dataset, test_share: float = 0.25, calibrate_share: float = 0.2) -> Split:
    """`split_at` the moment from which on about `test_share` of the rows lie.

    A young tenant's rows may all be unsettled at that moment; the cutoff then moves later while the test part keeps at
    least a third of its share. Raises EmptySplit when no moment leaves both classes in each part.
    """
    moments = dataset.frame["event_timestamp"].sort()
    failure = EmptySplit("learning", dataset.frame.height, 0)
    for share in (test_share, test_share * 2 / 3, test_share / 3):
        cutoff = moments[int(len(moments) * (1 - share))]
        try:
            return split_at(dataset, cutoff, calibrate_share)
        except EmptySplit as empty:
            failure = empty
    raise failure


def split_people(dataset: Dataset, seed: int, test_share: float = 0.3, calibrate_share: float = 0.2) -> Split:
    """Contacts never seen while learning, for judging how the model meets strangers. No contact is on two sides of
    it."""
    contacts = dataset.frame["contact_id"].unique().sort()
    shuffled = np.random.default_rng(seed).permutation(len(contacts))
    unseen = contacts.gather(np.sort(shuffled[: int(len(contacts) * test_share)]))
    strange = dataset.frame["contact_id"].is_in(unseen.implode())
    learn = dataset.rows(~strange)
    return _checked(*_later_slice(learn, calibrate_share), dataset.rows(strange), kind="people never seen")


def split_folds(dataset: Dataset, seed: int, folds: int = 5, calibrate_share: float = 0.2) -> Iterator[Split]:
    """`folds` splits in which every contact is a stranger exactly once. Raises EmptySplit when a part lacks a class."""
    contacts = dataset.frame["contact_id"].unique().sort()
    shuffled = np.random.default_rng(seed).permutation(len(contacts))
    for fold in range(folds):
        unseen = contacts.gather(np.sort(shuffled[fold::folds]))
        strange = dataset.frame["contact_id"].is_in(unseen.implode())
        learn = _later_slice(dataset.rows(~strange), calibrate_share)
        yield _checked(*learn, dataset.rows(strange), kind="people never seen")


def _later_slice(learn: Dataset, share: float) -> tuple[Dataset, Dataset]:
    """The older rows and the latest `share` of them, cut between two moments."""
    if learn.frame.is_empty():
        raise EmptySplit("learning", 0, 0)
    moments = learn.frame["event_timestamp"].sort()
    boundary = moments[int(len(moments) * (1 - share))]
    later = learn.frame["event_timestamp"] >= boundary
    if later.all():
        # A single moment has nothing later than itself: every fifth contact calibrates instead.
        later = learn.frame["contact_id"].hash(seed=0) % 5 == 0
    return learn.rows(~later), learn.rows(later)


def _checked(fit: Dataset, calibrate: Dataset, test: Dataset, kind: str) -> Split:
    for side, part in (("fit", fit), ("calibrate", calibrate), ("test", test)):
        positives = int(part.labels().sum()) if part.frame.height else 0
        if positives == 0 or positives == part.frame.height:
            raise EmptySplit(side, part.frame.height, positives)
    digest = hashlib.sha256(f"{fit.digest}{calibrate.digest}".encode()).hexdigest()
    return Split(fit, calibrate, test, kind, digest)
