"""The vocabulary of a feature: what it is called, what it means, where it lives and for how long it may be used."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Literal

from feature_store.entities import CONTACT, Entity
from feature_store.sources import Source

# float32: a column of the models, missing as NaN. timestamp: a UTC moment that on-demand features are made of. json: an
# object of typed facts, as text.
DType = Literal["float32", "timestamp", "json"]

# A daily view holds a row only where something changed, so its last row stays true until the next. After a year without
# any change the contact is treated as unknown.
DAILY_TTL = dt.timedelta(days=365)


@dataclass(frozen=True)
class Feature:
    """`window` is how far it looks back ("30 days", "ever", "latest"); `null_means` what a missing value says."""

    name: str
    description: str
    unit: str
    window: str
    null_means: str
    dtype: DType = "float32"


@dataclass(frozen=True)
class FeatureView:
    """Columns of one source table. `ttl` is the greatest age of a row at retrieval, None for no limit."""

    name: str
    description: str
    source: Source
    features: tuple[Feature, ...]
    ttl: dt.timedelta | None = DAILY_TTL
    entity: Entity = CONTACT
    owner: str = "team:data"


# Views that are read, each with the columns taken from it.
Selection = tuple[tuple[FeatureView, tuple[str, ...]], ...]
