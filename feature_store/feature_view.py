"""The vocabulary of a feature: what it is called, what it means, where it lives and for how long it may be used."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Literal

from feature_store.entities import CONTACT, Entity
from feature_store.sources import Source

# number: a float column of the models. moment: a UTC timestamp that on-demand features are made of. json: typed facts.
Kind = Literal["number", "moment", "json"]

# A daily view holds a row only where something changed, so its last row stays true until the next. After a year without
# any change the contact is treated as unknown.
DAILY_TTL = dt.timedelta(days=365)


@dataclass(frozen=True)
class Feature:
    name: str
    description: str
    unit: str
    kind: Kind = "number"


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
